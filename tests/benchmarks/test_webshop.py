"""How fast the shop answers and starts, on 1,000 released products and on 300,000 made-up ones in a file.

The large one is built in the cache the first time, which takes minutes; ``-m slow`` includes it.
"""

from __future__ import annotations

import json
import lzma
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.webshop import Catalogue, WebShopEnvironment, load_catalogue
from tasks.webshop.catalogue import open_catalogue
from tasks.webshop.generate import Generated
from tests.benchmarks.fixture import Benchmark
from tests.benchmarks.test_alfworld import note
from tests.shared_data import shared

LARGE = 300_000


@pytest.fixture(scope="module")
def folder() -> Path:
    return shared("data", "webshop")


@pytest.fixture(scope="module")
def catalogue(folder: Path) -> Catalogue:
    return load_catalogue(folder)


def queries() -> list[str]:
    recorded = json.loads(lzma.decompress(shared("vectors", "webshop", "search_top50.json.xz").read_bytes()))
    return [query["query"] for group in recorded.values() for query in group]


def test_queries(benchmark: Benchmark, catalogue: Catalogue) -> None:
    asked = queries()
    benchmark.pedantic(lambda: [catalogue.search(query) for query in asked], rounds=10, warmup_rounds=1)
    note(benchmark, "microseconds_per_query", len(asked), 1e6)


def test_steps(benchmark: Benchmark, catalogue: Catalogue) -> None:
    recorded = json.loads(lzma.decompress(shared("vectors", "webshop", "episodes.json.xz").read_bytes()))

    def play() -> int:
        steps = 0
        for episode in recorded:
            environment = WebShopEnvironment(catalogue, episode["goal"])
            environment.reset()
            for step in episode["steps"][1:]:
                environment.step(step["action"])
                steps += 1
        return steps

    steps = play()
    benchmark.pedantic(play, rounds=10)
    note(benchmark, "microseconds_per_step", steps, 1e6)


def in_a_new_process(statements: str) -> tuple[float, float]:
    """Seconds and peak MB of a process that runs them, imports included."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statements], check=True, timeout=600)
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def test_start(benchmark: Benchmark, folder: Path) -> None:
    peak = benchmark.pedantic(
        lambda: in_a_new_process(f"from tasks.webshop import load_catalogue; load_catalogue({str(folder)!r})")[1],
        rounds=3,
    )
    benchmark.extra_info["peak_megabytes"] = peak


@pytest.mark.slow
def test_start_of_a_large_catalogue(benchmark: Benchmark) -> None:
    large = open_catalogue(Generated("train", LARGE))  # builds it if need be
    assert large.on_disk
    statements = (
        "from tasks.webshop.catalogue import open_catalogue; from tasks.webshop.generate import Generated; "
        f"shop = open_catalogue(Generated('train', {LARGE})); shop.search('red cotton shirt'); shop.goals()[5]"
    )
    peak = benchmark.pedantic(lambda: in_a_new_process(statements)[1], rounds=3)
    benchmark.extra_info["peak_megabytes"] = peak


@pytest.mark.slow
def test_queries_of_a_large_catalogue(benchmark: Benchmark) -> None:
    large = open_catalogue(Generated("train", LARGE))
    asked = [large.goals()[number].instruction_text for number in range(50)]
    benchmark.pedantic(lambda: [large.search(query) for query in asked], rounds=3, warmup_rounds=1)
    note(benchmark, "milliseconds_per_query", len(asked), 1e3)
