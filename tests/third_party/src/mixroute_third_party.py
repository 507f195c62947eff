"""What somebody else would write: a router and a task, in a package of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mixroute import Instance, Message, Observation, Prompt, Step, StepRouter, Turn


class LastK(StepRouter):
    """High precision after the first ``k`` steps."""

    def __init__(self, k: int = 2) -> None:
        self._k = k

    def choose(self, step: Step) -> str:
        return "high" if step.index >= self._k else "low"


class Countdown:
    """An environment that ends by itself; any action will do."""

    name = "countdown"
    blocking = False
    stop = ("\n",)
    max_tokens = 4

    def __init__(self, split: str = "test", step_cap: int = 5) -> None:
        self.split = split
        self.step_cap = step_cap

    def instances(self) -> Sequence[Instance]:
        return [Instance(f"{self.split}/{i}", data=i) for i in range(1, 4)]

    def open(self, instance: Instance) -> Countdown.Clock:
        return self.Clock(instance.data)

    def prompt(self, turns: Sequence[Turn], observation: Observation) -> Prompt:
        told = [Message("user", turn.observation.text) for turn in turns]
        return Prompt((*told, Message("user", observation.text)), "plain")

    def parse_action(self, text: str) -> str:
        return text

    def is_success(self, score: float) -> bool:
        return score > 0

    def protocol(self) -> Mapping[str, Any]:
        return {"step_cap": self.step_cap}

    class Clock:
        """Counts down from a number."""

        def __init__(self, start: int) -> None:
            self._left = start

        def reset(self) -> Observation:
            return Observation(f"{self._left} left. ")

        def step(self, action: str) -> tuple[Observation, float, bool]:
            self._left -= 1
            return Observation(f"{self._left} left. "), 1.0, self._left == 0

        def close(self) -> None:
            pass
