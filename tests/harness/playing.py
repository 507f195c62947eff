"""Plays a router on scripted models in a scripted corridor, and keeps what the engine reports."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

from harness.engine.answering import Play
from harness.engine.rollout import play_all
from harness.records import Episode, EpisodeTiming
from harness.seeding import seed_for
from mixroute import Step, StepRouter
from tests.scripted import Corridor, ScriptedModel


class Alternate(StepRouter):
    def choose(self, step: Step) -> str:
        return step.models[step.index % 2]


def session(instance: str) -> str:
    """The session of an instance in ``play``."""
    return f"{seed_for('hash', instance):016x}"


class Seen:
    """Keeps what the engine reports."""

    def __init__(self) -> None:
        self.episodes: dict[str, Episode] = {}
        self.timings: dict[str, EpisodeTiming] = {}
        self.order: list[str] = []

    def call_finished(self, tokens: int) -> None:
        pass

    def episode_finished(self, episode: Episode, timing: EpisodeTiming) -> None:
        self.episodes[episode.instance] = episode
        self.timings[timing.instance] = timing
        self.order.append(episode.instance)


def message(episode: Episode) -> str | None:
    """The error of an episode, without the place in the code of a test."""
    return episode.error and re.sub(r" \(\w+\.py, line \d+, in \w+\)$", "", episode.error)


def play(
    router: object,
    models: Mapping[str, ScriptedModel] | None = None,
    task: Corridor | None = None,
    concurrency: int = 4,
    timeout: float = 30.0,
) -> Seen:
    seen = Seen()
    task = task or Corridor()
    pool = models or {"high": ScriptedModel("high"), "low": ScriptedModel("low")}
    plan = Play("hash", 7, 0.0, task, router, pool, timeout)  # type: ignore[arg-type]
    asyncio.run(play_all(plan, task.instances(), concurrency, seen))
    return seen
