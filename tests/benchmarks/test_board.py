"""How fast a board of a million steps is computed, with how much memory, and how fast published entries are verified.

The large board is of made-up traces, ten million tokens in a gigabyte; ``-m slow`` includes both.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from itertools import cycle
from pathlib import Path

import msgspec
import pytest

from harness.records import CallRecord, CallTiming, Episode, EpisodeTiming, StepRecord, StepTiming
from harness.traces.store import EPISODES, RUN, SCHEMA, TIMINGS, find_runs, read_episodes, read_meta
from harness.verify.entries import verify_entries
from tests.benchmarks.fixture import Benchmark
from tests.benchmarks.test_alfworld import note
from tests.harness.board.builders import Run, meta_of
from tests.shared_data import REPOSITORY

ROUTERS, EPISODES_EACH, STEPS = 20, 2_500, 20

SEEN = "You arrive at countertop 1. On the countertop 1, you see a cup 1, a dishsponge 1, a pan 2 and a lettuce 2."

PROGRAM = """
import resource, sys, time
from itertools import cycle
from pathlib import Path
from harness.board import write_board
from harness.traces.store import find_runs
began = time.perf_counter()
write_board(find_runs(Path(sys.argv[1])), Path(sys.argv[2]))
children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + children)
"""


def _call(model: str) -> CallRecord:
    statistics = [0.123456789012345] * 10
    return CallRecord(model, 400, 360, 10, 9, "stop", False, "look", statistics, statistics, statistics)


def write_traces(folder: Path, number: int) -> None:
    """A run of 50,000 steps, high with a probability that grows with ``number``."""
    rng = random.Random(number)
    games = [f"game/{place:05}" for place in range(EPISODES_EACH)]
    router = "always-high" if number == ROUTERS - 1 else "random"
    meta = meta_of(Run(router, {}, label=f"router {number}", args={"p": number}, planned=games))
    folder.mkdir(parents=True)
    (folder / RUN).write_bytes(msgspec.json.encode(meta))
    with (folder / EPISODES).open("wb") as episodes, (folder / TIMINGS).open("wb") as timings:
        for game in games:
            models = ["high" if rng.random() <= number / (ROUTERS - 1) else "low" for _ in range(STEPS)]
            steps = [StepRecord(SEEN, ["look"], [_call(model)], "look", "look", True, 0.0, model) for model in models]
            won = rng.random() < 0.4 + 0.025 * number
            played = Episode(SCHEMA, meta.hash, game, "pick", 0, float(won), won, "done", None, steps, SEEN)
            measured = [StepTiming(1e-5, 1e-3, [CallTiming(1e-3, 2e-2, 9e-2, 1e-1)])] * STEPS
            episodes.write(msgspec.json.encode(played) + b"\n")
            timings.write(msgspec.json.encode(EpisodeTiming(game, 0, 1e-3, measured)) + b"\n")


@pytest.mark.slow
def test_a_board_of_a_million_steps(benchmark: Benchmark, tmp_path: Path) -> None:
    for number in range(ROUTERS):
        write_traces(tmp_path / "runs" / f"{number:02}", number)
    found: list[list[float]] = []

    def compute() -> None:
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / "runs"), str(tmp_path / "board")]
        found.append(
            [float(value) for value in subprocess.run(command, capture_output=True, check=True).stdout.split()]
        )

    benchmark.pedantic(compute, rounds=3)
    benchmark.extra_info["seconds"] = min(seconds for seconds, _ in found)
    benchmark.extra_info["peak_mebibytes"] = max(kibibytes for _, kibibytes in found) / 1024


@pytest.mark.slow
def test_a_hundred_thousand_steps_are_verified(benchmark: Benchmark, tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "results" / "entries", tmp_path, dirs_exist_ok=True)  # copies need their siblings
    published = [one for one in find_runs(tmp_path) if read_meta(one).task == "alfworld-gen"]
    lengths = {one: sum(len(episode.steps) for episode in read_episodes(one)) for one in published}
    folders: list[Path] = []
    steps = 0
    for folder in cycle(published):
        folders.append(tmp_path / f"{folder.name}-{len(folders)}")
        shutil.copytree(folder, folders[-1])
        steps += lengths[folder]
        if steps >= 100_000:
            break
    benchmark.pedantic(lambda: verify_entries(folders), rounds=3)
    note(benchmark, "seconds_per_100000_steps", steps, 1e5)
