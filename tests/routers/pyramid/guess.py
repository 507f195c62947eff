"""A task on which even a random model is right about half of the time, so that there is something to learn from."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from mixroute import Instance, Message, Observation, Prompt, Turn
from tasks.reasoning.question import Question, Verdict


class Guess:
    """An answer is right if its checksum is even."""

    name = "guess"
    blocking = False
    stop: tuple[str, ...] = ()
    step_cap = 1

    def __init__(self, split: str = "test", count: int = 40, start: int = 0, max_tokens: int = 3) -> None:
        self.split = split
        self.max_tokens = max_tokens
        self._numbers = range(start, start + count)

    def instances(self) -> Sequence[Instance]:
        return [Instance(f"q/{number:04}", data=number) for number in self._numbers]

    def open(self, instance: Instance) -> Question:
        return Question(f"{instance.data}?", lambda answer: Verdict(float(zlib.crc32(answer.encode()) % 2 == 0), "."))

    def prompt(self, turns: Sequence[Turn], observation: Observation) -> Prompt:
        return Prompt((Message("user", observation.text),), "plain")

    def parse_action(self, text: str) -> str:
        return text

    def is_success(self, score: float) -> bool:
        return score == 1

    def protocol(self) -> Mapping[str, Any]:
        return {"numbers": [self._numbers.start, self._numbers.stop]}
