"""A task with a known best router: bridges whose planks tell whether low falls through."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any

from harness.engine.opening import OpenTask
from harness.suite import TaskEntry
from mixroute import Completion, Instance, Message, ModelCard, Observation, Prompt, Request, Token, Turn

PLANKS = 6


class Bridge:
    """Six planks, some of them loose: there low steps wrong and the episode is lost."""

    name = "bridge"
    blocking = False
    stop: tuple[str, ...] = ("\n",)
    max_tokens = 8
    step_cap = PLANKS

    def __init__(self, split: str = "train", count: int = 64) -> None:
        self.split = split
        self._count = count

    def instances(self) -> Sequence[Instance]:
        found = []
        for number in range(self._count):
            rng = random.Random(f"{self.split} {number}")
            found.append(Instance(f"{self.split}/{number:03}", data=[rng.random() < 0.3 for _ in range(PLANKS)]))
        return found

    def open(self, instance: Instance) -> Crossing:
        return Crossing(instance.data)

    def prompt(self, turns: Sequence[Turn], observation: Observation) -> Prompt:
        return Prompt((Message("user", observation.text),), "plain")

    def parse_action(self, text: str) -> str:
        return text

    def is_success(self, score: float) -> bool:
        return score >= 1

    def protocol(self) -> Mapping[str, Any]:
        return {}


class Crossing:
    """One bridge being crossed; "light" is right on every plank, "heavy" on firm ones only."""

    def __init__(self, planks: Sequence[bool]) -> None:
        self._planks = planks
        self._place = 0

    def reset(self) -> Observation:
        self._place = 0
        return self._look()

    def step(self, action: str) -> tuple[Observation, float, bool]:
        fell = self._planks[self._place] and action != "light"
        self._place += 1
        over = self._place == len(self._planks)
        return self._look(), float(over and not fell), fell or over

    def close(self) -> None:
        pass

    def _look(self) -> Observation:
        if self._place == len(self._planks):
            return Observation("The other side.")
        return Observation(f"The plank ahead is {'loose' if self._planks[self._place] else 'firm'}.")


class Walker:
    """A model with one way to walk."""

    def __init__(self, name: str, action: str) -> None:
        self._name, self._action = name, action

    async def generate(self, request: Request) -> Completion:
        await asyncio.sleep(0)
        return Completion(self._name, self._action, (Token(1, 0.0, 0.0, 1.0),), 1, "stop", 1, 0)

    def release(self, session: str) -> None:
        pass

    def card(self) -> ModelCard:
        return ModelCard(self._name, 1, 1, 16.0, self._name)

    def close(self) -> None:
        pass


def walkers() -> dict[str, Walker]:
    return {"high": Walker("high", "light"), "low": Walker("low", "heavy")}


def opened(split: str, count: int = 64) -> OpenTask:
    task = Bridge(split, count)
    return OpenTask(TaskEntry(task="bridge", split=split, limit=None), task, task.instances())
