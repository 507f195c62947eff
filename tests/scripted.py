"""A task, and models that say what the test wants: for failures that no real model can be asked to make."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mixroute import Completion, Instance, Message, ModelCard, Observation, Prompt, Request, Token, Turn

Answer = Callable[[Request], str]


class Corridor:
    """Instances are corridors of some length; "right" goes one step, and the end wins."""

    name = "corridor"
    blocking = False
    stop = ("\n",)
    max_tokens = 8

    def __init__(self, split: str = "test", length: int = 3, count: int = 4, step_cap: int = 10) -> None:
        self.split = split
        self.step_cap = step_cap
        self._length = length
        self._count = count

    def instances(self) -> Sequence[Instance]:
        return [Instance(f"{self.split}/{i:03}", kind="odd" if i % 2 else "even") for i in range(self._count)]

    def open(self, instance: Instance) -> Walk:
        return Walk(self._length)

    def prompt(self, turns: Sequence[Turn], observation: Observation) -> Prompt:
        messages = []
        for turn in turns:
            messages += [Message("user", turn.observation.text + "\n>"), Message("assistant", turn.text + "\n")]
        return Prompt((*messages, Message("user", observation.text + "\n>")), "plain")

    def parse_action(self, text: str) -> str:
        return text.strip()

    def is_success(self, score: float) -> bool:
        return score >= 1

    def protocol(self) -> Mapping[str, Any]:
        return {"length": self._length, "step_cap": self.step_cap}


class Walk:
    """A corridor being walked."""

    def __init__(self, length: int) -> None:
        self._length = length
        self._place = 0

    def reset(self) -> Observation:
        self._place = 0
        return self._look()

    def step(self, action: str) -> tuple[Observation, float, bool]:
        if action == "explode":
            raise RuntimeError("the corridor caved in")
        self._place += action == "right"
        won = self._place == self._length
        return self._look(), float(won), won

    def close(self) -> None:
        pass

    def _look(self) -> Observation:
        return Observation(f"You are at {self._place}.", ("left", "right"))


class ScriptedModel:
    """Answers by a function; may take its time."""

    def __init__(self, name: str, answer: Answer = lambda request: " right", seconds: float = 0.0) -> None:
        self._name = name
        self._answer = answer
        self._seconds = seconds
        self.requests: list[Request] = []
        self.released: list[str] = []

    async def generate(self, request: Request) -> Completion:
        self.requests.append(request)
        await asyncio.sleep(self._seconds * random.Random(request.seed).random())
        text = self._answer(request)
        tokens = tuple(Token(ord(c), -0.5, 1.0, 0.2) for c in [*text, "\n"])
        return Completion(self._name, text, tokens, len(text), "stop", 10, 4)

    def release(self, session: str) -> None:
        self.released.append(session)

    def card(self) -> ModelCard:
        return ModelCard(self._name, 1000, 2000, 16.0, f"scripted-{self._name}")

    def close(self) -> None:
        pass
