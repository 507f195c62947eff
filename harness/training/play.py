"""Episodes that training needs: runs on disk, and episodes that are played in memory with the weights of the moment."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.contracts import Backend, Router
from harness.data import Instance
from harness.engine.answering import Play
from harness.engine.executor import Executor
from harness.engine.loop import run_to_end
from harness.engine.opening import OpenTask
from harness.engine.rollout import play_all
from harness.engine.runner import FinishedRun, SuiteRunner
from harness.files import content_hash
from harness.plugins import open_router
from harness.pool import ModelSpec, open_backend, save_pool
from harness.records import Episode, EpisodeTiming
from harness.seeding import seed_for
from harness.suite import Mode, RouterEntry, Suite
from harness.terminal import Terminal
from harness.training.recipe import AgentRecipe, Lesson

CONCURRENCY = 16
"""Episodes that are played at the same time."""


def play_runs(
    name: str,
    pool: str,
    tasks: Sequence[OpenTask],
    routers: Sequence[RouterEntry],
    seeds: Sequence[int],
    folder: Path,
    *,
    mode: Mode,
    temperature: float = 0.0,
    executor: Executor | None = None,
) -> list[FinishedRun]:
    """Play what is missing of the runs of each task, router and seed, as a suite does; may be stopped and resumed.

    Args:
        name: Name of the suite.
        pool: Name or file of the pool.
        tasks: What to play; models of the pool may have been trained on it, since it is not reported.
        routers: Who plays.
        seeds: Root seeds.
        folder: Folder of the runs; it may hold runs of other pools, tasks, routers or seeds.
        mode: As in a suite.
        temperature: As in a suite.
        executor: What plays; this process if not given.

    Returns:
        The runs that were asked for, by task, then router, then seed.

    Raises:
        MixrouteError: as ``SuiteRunner``.
    """
    suite = Suite(
        schema=1,
        name=name,
        pool=pool,
        tasks=[opened.entry for opened in tasks],
        routers=list(routers),
        seeds=list(seeds),
        mode=mode,
        temperature=temperature,
        concurrency=CONCURRENCY,
    )
    return SuiteRunner(suite, folder, Terminal(stderr=True), training_tasks=tasks, executor=executor).run()


class _Episodes:
    """Collects finished episodes."""

    def __init__(self) -> None:
        self.finished: list[Episode] = []

    def call_finished(self, tokens: int) -> None:
        """Show nothing."""

    def episode_finished(self, episode: Episode, timing: EpisodeTiming) -> None:
        """Add the episode."""
        self.finished.append(episode)


class DevGames:
    """Plays tasks greedily with one model.

    Args:
        tasks: Tasks to play.
        seed: Root seed.
    """

    def __init__(self, tasks: Sequence[OpenTask], seed: int) -> None:
        self._tasks = tasks
        self._seed = seed

    def play(self, spec: ModelSpec) -> dict[str, float]:
        """Success rate and share of invalid actions in [0, 1], and mean number of steps, of each task."""
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
    """Play the task's instances, or those given, greedily, without writing anything.

    Raises:
        RouterStopped: the router broke its contract. Other errors end their episode and are recorded in it.
    """
    (episodes,) = play_rounds(opened, [(router, seed)], pool, opened.instances if instances is None else instances)
    return episodes


def play_rounds(
    opened: OpenTask, rounds: Sequence[tuple[Router, int]], pool: Mapping[str, Backend], instances: Sequence[Instance]
) -> list[list[Episode]]:
    """Play the instances once for each round, all rounds at the same time, so that none waits for the end of another.

    Args:
        opened: The task.
        rounds: Router and root seed of each round; the seeds differ.
        pool: The models.
        instances: Instances to play.

    Returns:
        The episodes of each round, in order of instance: which one ends first depends on what the completion cache
        holds, and an update may not.

    Raises:
        RouterStopped: as in ``play_episodes``.
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

    run_to_end(play())
    return [sorted(observer.finished, key=lambda episode: episode.instance) for observer in observers]


def draw_instances(instances: Sequence[Instance], count: int | None, seed: int) -> list[Instance]:
    """Draw at most ``count`` of the instances; the draw depends on the seed alone."""
    return sorted(instances, key=lambda one: seed_for(seed, "drawn", one.id))[:count]


def play_lesson(
    recipe: AgentRecipe, spec: ModelSpec, lesson: Lesson, opened: OpenTask, folder: Path
) -> dict[str, Episode]:
    """Episodes of the lesson's instances that the model ``spec`` plays, by instance; resumes from ``folder``."""
    pool = save_pool(folder / "pool.yaml", recipe.name, "The model before training.", {recipe.model: spec})
    runs = play_runs(
        recipe.name,
        str(pool),
        [opened],
        [RouterEntry(router="always", args={"model": recipe.model})],
        [recipe.seed],
        folder / content_hash(lesson.model_dump())[:8],
        mode="throughput",
    )
    return {episode.instance: episode for run in runs for episode in run.episodes() if not episode.error}
