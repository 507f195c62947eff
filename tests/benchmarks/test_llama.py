"""Tokens a second of backend ``transformers`` against llama.cpp, one sequence, in turns: make benchmark-llama.

``ratio`` among the extra information is the median over rounds of our tokens a second / llama.cpp's, whose weights are
bfloat16. Both read the same 400 tokens before, and have the same number of threads.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import pytest
import torch

from harness.pool import load_pool
from tests.benchmarks.fixture import Benchmark
from tests.benchmarks.test_packed import CONTEXT, opened, read, seconds
from tests.harness.backends.gguf_file import tuned_gguf

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(not os.environ.get("LLAMA_PYTHON"), reason="needs llama.cpp: make benchmark-llama"),
]

TOKENS, ROUNDS = 24, 9


@contextmanager
def llama() -> Iterator[Callable[[], float]]:
    """Seconds of ``TOKENS`` passes by llama.cpp."""
    script = Path(__file__).with_name("llama_passes.py")
    model = tuned_gguf(load_pool("smollm2").models["high"])
    command = [os.environ["LLAMA_PYTHON"], str(script), str(model), str(torch.get_num_threads()), str(CONTEXT)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        questions, answers = process.stdin, process.stdout
        assert questions is not None
        assert answers is not None

        def passes() -> float:
            print(TOKENS, file=questions, flush=True)
            return float(answers.readline())

        yield passes
        questions.close()


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "packed"])
def test_passes_against_llama(benchmark: Benchmark, kind: str) -> None:
    model = opened("float32" if kind == "packed" else kind, packed=kind == "packed")
    caches = read(model, 1)
    took: list[tuple[float, float]] = []

    with llama() as theirs:

        def both() -> None:
            took.append((sum(seconds(model, caches, [7 + n]) for n in range(TOKENS)), theirs()))

        benchmark.pedantic(both, rounds=ROUNDS, warmup_rounds=1)
    ours, other = (median(column) for column in zip(*took, strict=True))
    benchmark.extra_info["tokens a second"] = round(TOKENS / ours, 1)
    benchmark.extra_info["llama.cpp"] = round(TOKENS / other, 1)
    benchmark.extra_info["ratio"] = round(median(their / our for our, their in took), 3)
    print(f"\n{kind}: {benchmark.extra_info}")
