"""What the model plays in the course of its training: dev games, and training games that the expert then takes over."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from harness.contracts import Backend, Router
from harness.data import Instance
from harness.engine.rollout import Play, play_all
from harness.engine.runner import OpenTask, SuiteRunner
from harness.files import content_hash
from harness.plugins import open_router
from harness.pool import ModelSpec, open_backend, save_pool
from harness.records import Episode, EpisodeTiming
from harness.seeding import seed_for
from harness.suite import RouterEntry, Suite
from harness.traces.store import find_runs, read_episodes
from harness.training.recipe import AgentRecipe, Lesson

CONCURRENCY = 16
"""Episodes at once."""


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
        router = open_router("always", model="model")
        try:
            return [play_episodes(opened, router, {"model": backend}, self._seed) for opened in self._tasks]
        finally:
            backend.close()


def play_episodes(
    opened: OpenTask,
    router: Router,
    pool: Mapping[str, Backend],
    seed: int,
    instances: Sequence[Instance] | None = None,
) -> list[Episode]:
    """Play the task's instances, or those given, greedily; nothing is written.

    Raises:
        RouterStopped: the router broke its contract. Other errors end their episode, which tells them.
    """
    (episodes,) = play_rounds(opened, [(router, seed)], pool, opened.instances if instances is None else instances)
    return episodes


def play_rounds(
    opened: OpenTask, rounds: Sequence[tuple[Router, int]], pool: Mapping[str, Backend], instances: Sequence[Instance]
) -> list[list[Episode]]:
    """Play the instances once a round, all rounds side by side, so that the last episodes of one keep nobody waiting.

    Args:
        opened: The task.
        rounds: Router and root seed of each; no two seeds alike.
        pool: The models.
        instances: To play.

    Returns:
        The episodes of each round.

    Raises:
        RouterStopped: as ``play_episodes``.
    """
    plays = [
        Play(
            run=f"play {seed}",
            seed=seed,
            temperature=0.0,
            task=opened.task,
            router=router,
            pool=pool,
            router_timeout=60.0,
        )
        for router, seed in rounds
    ]
    observers = [_Episodes() for _ in plays]
    each = CONCURRENCY if len(plays) == 1 else max(1, 2 * CONCURRENCY // len(plays))

    async def play() -> None:
        await asyncio.gather(
            *(play_all(one, instances, each, seen) for one, seen in zip(plays, observers, strict=True))
        )

    asyncio.run(play())
    return [observer.finished for observer in observers]


def drawn_from(instances: Sequence[Instance], count: int | None, seed: int) -> list[Instance]:
    """At most ``count`` of the instances, the same ones for the same seed."""
    return sorted(instances, key=lambda one: seed_for(seed, "drawn", one.id))[:count]


def played_by_model(
    recipe: AgentRecipe, spec: ModelSpec, lesson: Lesson, opened: OpenTask, folder: Path
) -> dict[str, Episode]:
    """The lesson's instances as the model ``spec`` plays them, by id; those in ``folder`` are not played again."""
    pool = save_pool(folder / "pool.yaml", recipe.name, "The model before training.", {recipe.model: spec})
    suite = Suite(
        schema=1,
        name=recipe.name,
        pool=str(pool),
        tasks=[opened.entry],
        routers=[RouterEntry(router="always", args={"model": recipe.model})],
        seeds=[recipe.seed],
        mode="throughput",
        concurrency=CONCURRENCY,
    )
    there = folder / content_hash(lesson.model_dump())[:8]
    SuiteRunner(suite, there, Console(stderr=True), training_tasks=[opened]).run()
    return {e.instance: e for run in find_runs(there) for e in read_episodes(run) if not e.error}
