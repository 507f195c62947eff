"""The dev games of a training run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from harness.contracts import Backend, Step, StepRouter
from harness.pool import ModelSpec, open_backend
from harness.rollout import Play, play_all
from harness.run import OpenTask
from harness.trace import Episode, EpisodeTiming

_CONCURRENCY = 16


class _TheModel(StepRouter):
    """Asks the only model there is."""

    def choose(self, step: Step) -> str:
        return step.models[0]


class _Episodes:
    """Keeps finished episodes."""

    def __init__(self) -> None:
        self.finished: list[Episode] = []

    def call_finished(self, tokens: int) -> None:
        """Nothing is shown."""

    def episode_finished(self, episode: Episode, timing: EpisodeTiming) -> None:
        """Keep it."""
        self.finished.append(episode)


class DevGames:
    """Plays tasks greedily with one model.

    Args:
        tasks: What to play.
        seed: Root seed.
    """

    def __init__(self, tasks: Sequence[OpenTask], seed: int) -> None:
        self._tasks = tasks
        self._seed = seed

    def play(self, spec: ModelSpec) -> dict[str, float]:
        """Success rate, mean steps and share of invalid actions of each task, in [0, 1] but for the steps."""
        metrics: dict[str, float] = {}
        for opened, episodes in zip(self._tasks, self.episodes(spec), strict=True):
            steps = [step for episode in episodes for step in episode.steps]
            name = f"{opened.entry.task}/{opened.entry.split}"
            metrics[f"{name}/success"] = sum(episode.success for episode in episodes) / len(episodes)
            metrics[f"{name}/steps"] = len(steps) / len(episodes)
            metrics[f"{name}/invalid"] = sum(step.valid is False for step in steps) / max(1, len(steps))
        return metrics

    def episodes(self, spec: ModelSpec) -> list[list[Episode]]:
        """The finished episodes of each task."""
        backend = open_backend("model", spec, deterministic=False)
        try:
            return [self._episodes(opened, {"model": backend}) for opened in self._tasks]
        finally:
            backend.close()

    def _episodes(self, opened: OpenTask, pool: dict[str, Backend]) -> list[Episode]:
        play = Play(
            run="dev",
            seed=self._seed,
            temperature=0.0,
            task=opened.task,
            router=_TheModel(),
            pool=pool,
            router_timeout=60.0,
        )
        observer = _Episodes()
        asyncio.run(play_all(play, opened.instances, _CONCURRENCY, observer))
        return observer.finished
