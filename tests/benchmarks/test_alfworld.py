"""How fast ALFWorld is played: own engine and, where installed, the original; run with ``pytest --benchmark-only``."""

import random
from collections.abc import Iterator

import pytest

from harness.contracts import Environment, Task
from harness.errors import MixrouteError
from harness.plugins import open_task
from tests.benchmarks.fixture import Benchmark
from tests.conformance.original import original_engine
from tests.shared_data import shared

STEPS = 50
GAMES = 20


def note(benchmark: Benchmark, what: str, count: int, unit: float) -> None:
    """Record the median time of one of ``count`` things."""
    if benchmark.stats is not None:
        benchmark.extra_info[what] = benchmark.stats.stats.median / count * unit


@pytest.fixture(params=["official", "generated"])
def source(request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, object]]]:
    if request.param == "official":
        yield "alfworld", {"data": shared("data", "alfworld"), "split": "valid_unseen"}
    else:
        yield "alfworld-gen", {"split": "test"}


def play(environments: list[Environment], steps: int) -> None:
    """Random play; the cost of drawing the action is part of the measure for both engines."""
    rng = random.Random(0)
    for env in environments:
        observation = env.reset()
        for _ in range(steps):
            observation, _, done = env.step(rng.choice(observation.admissible))
            if done:
                observation = env.reset()


def opened(task: Task, games: int) -> list[Environment]:
    return [task.open(instance) for instance in task.instances()[:games]]


def test_own_engine_steps(benchmark: Benchmark, source: tuple[str, dict[str, object]]) -> None:
    environments = opened(open_task(source[0], **source[1]), GAMES)
    benchmark.pedantic(play, (environments, STEPS), rounds=10, warmup_rounds=1)
    note(benchmark, "microseconds_per_step", GAMES * STEPS, 1e6)


def test_own_engine_load(benchmark: Benchmark, source: tuple[str, dict[str, object]]) -> None:
    task = open_task(source[0], **source[1])
    # A game is read once: each round opens others, which no test here has opened before.
    rounds = iter([task.instances()[GAMES * number : GAMES * (number + 1)] for number in range(1, 6)])
    benchmark.pedantic(
        lambda several: [task.open(instance) for instance in several],
        setup=lambda: ((next(rounds),), {}),
        rounds=5,
    )
    note(benchmark, "milliseconds_per_load", GAMES, 1e3)


def test_original_engine_steps(benchmark: Benchmark, source: tuple[str, dict[str, object]]) -> None:
    with original_engine():
        try:
            environments = opened(open_task(source[0], engine="textworld", **source[1]), 1)
        except MixrouteError as error:
            pytest.skip(str(error))
        environments[0].reset()
        try:
            benchmark.pedantic(play, (environments, 40), rounds=1)
        finally:
            environments[0].close()
    note(benchmark, "microseconds_per_step", 40, 1e6)
