"""A game of three answers whose hash opens a door, and routers for it: one that has learned which answers do.

Each history of answers leads to another prompt, so that the eight schedules of two models give eight tries at a game
that one model alone wins in one of four.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mixroute import (
    Instance,
    Message,
    MixrouteError,
    Observation,
    Prompt,
    Step,
    StepRouter,
    Turn,
    is_fresh_split,
    register_router,
    register_task,
)

GAMES = 40
MODELS = {"h": "high", "l": "low"}
LEARNED: dict[str, str] = {}
"""The schedule of each published game, by how its prompt begins."""


class Door:
    """One game: three answers, then it is seen whether they open the door."""

    def __init__(self, name: str) -> None:
        self._name, self._said = name, ""

    def reset(self) -> Observation:
        self._said = ""
        return Observation(f"door {self._name}")

    def step(self, action: str) -> tuple[Observation, float, bool]:
        self._said += f"|{action}"
        over = self._said.count("|") == 3
        opens = hashlib.sha256(f"{self._name}{self._said}".encode()).digest()[0] % 4 == 0
        return Observation(f"said {action}"), float(over and opens), over

    def close(self) -> None:
        pass


@register_task("doors")
class Doors:
    """Doors that three answers open or not."""

    name = "doors"
    fresh_games_like: ClassVar[str] = "test"
    blocking = False
    stop = ("\n",)
    max_tokens = 4
    step_cap = 3

    def __init__(self, split: str = "test") -> None:
        if split not in ("test", "dev") and not is_fresh_split(split):
            raise MixrouteError(f"doors has no split '{split}'")
        self.split = split

    def instances(self) -> Sequence[Instance]:
        return [Instance(f"{self.split}/{number:03}") for number in range(GAMES)]

    def open(self, instance: Instance) -> Door:
        return Door(instance.id)

    def prompt(self, turns: Sequence[Turn], observation: Observation) -> Prompt:
        told = [Message("user", f"{one.observation.text}\n>{one.text}\n") for one in turns]
        return Prompt((*told, Message("user", f"{observation.text}\n>")), "plain")

    def parse_action(self, text: str) -> str:
        return text

    def is_success(self, score: float) -> bool:
        return score == 1

    def protocol(self) -> Mapping[str, Any]:
        return {"task": self.name, "split": self.split}


@register_router("schedule")
class Schedule(StepRouter):
    """The models of ``plan`` in turn, such as ``hhl``."""

    def __init__(self, plan: str = "hhh") -> None:
        self._plan = plan

    def choose(self, step: Step) -> str:
        return MODELS[self._plan[step.index]]


@register_router("memory")
class Memory(StepRouter):
    """The schedule that it has learned for a game; low for games that it does not know."""

    def choose(self, step: Step) -> str:
        first = step.turns[0].observation if step.turns else step.observation
        return MODELS[LEARNED.get(first.text, "lll")[step.index]]
