"""How long the command takes to start, beside Python itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.fixture import Benchmark
from tests.command import mixroute


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("list",)], ids=" ".join)
def test_start_of_the_command(benchmark: Benchmark, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    benchmark.pedantic(lambda: mixroute(*arguments, cwd=tmp_path), rounds=5, warmup_rounds=1)


def test_start_of_python(benchmark: Benchmark) -> None:
    benchmark.pedantic(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True), rounds=5, warmup_rounds=1)
