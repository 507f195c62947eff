"""Passes of SmolLM2 with packed weights against those of the dense model, in turns on the same texts.

``ratio`` among the extra information is the median over rounds of packed seconds / dense seconds: whatever else the
machine does troubles both alike.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache
from statistics import median

import pytest
import torch

from harness.backends.choosing import choose_way
from harness.backends.linear import prepacked_types
from harness.backends.loading import TransformersOptions, load_model
from harness.backends.model_card import model_card
from harness.backends.self_test import make
from harness.backends.sequences import Chunk, SequenceModel, TokenCache
from harness.pool import load_pool
from tests.benchmarks.fixture import Benchmark

pytestmark = pytest.mark.model

CONTEXT, ROUNDS = 400, 15
PACKED = {"quantization": "rtn-w4-channel", "kernels": "packed", "head": "int8"}


@pytest.fixture(params=["float32", "bfloat16"])
def dense(request: pytest.FixtureRequest) -> Iterator[str]:
    if getattr(torch, request.param) not in prepacked_types():
        pytest.skip(f"oneDNN has no products in {request.param} on this processor")
    yield request.param


@cache
def opened(dtype: str, *, packed: bool) -> SequenceModel:
    options = TransformersOptions.model_validate({"dtype": dtype, "device": "cpu"} | (PACKED if packed else {}))
    spec = load_pool("smollm2").models["high"].model_copy(update={"options": options.model_dump()})
    model, tokenizer = load_model("m", spec, options)
    choice = choose_way("m", model, tokenizer, model_card("m", model, spec, options).fingerprint)
    return make(model, choice, deterministic=True)


def ids(count: int) -> list[int]:
    return [7 + n % 1000 for n in range(count)]


def read(model: SequenceModel, sequences: int) -> list[TokenCache]:
    caches = [model.new_cache() for _ in range(sequences)]
    for cached in caches:
        model.forward([Chunk(cached, ids(CONTEXT))])
    return caches


def seconds(model: SequenceModel, caches: list[TokenCache], new: list[int]) -> float:
    """Seconds of a pass over ``new`` of each sequence, which are then forgotten again."""
    held = [len(cached.ids) for cached in caches]
    began = time.perf_counter()
    model.forward([Chunk(cached, new) for cached in caches])
    took = time.perf_counter() - began
    for cached, length in zip(caches, held, strict=True):
        cached.crop(length)
    return took


@pytest.mark.parametrize(
    ("sequences", "context", "new"),
    [(1, CONTEXT, 1), (4, CONTEXT, 1), (16, CONTEXT, 1), (1, 0, 64), (1, 0, 512)],
    ids=["decode-1", "decode-4", "decode-16", "prefill-64", "prefill-512"],
)
def test_packed_against_dense(benchmark: Benchmark, dense: str, sequences: int, context: int, new: int) -> None:
    models = [opened("float32", packed=True), opened(dense, packed=False)]
    caches = [read(m, sequences) if context else [m.new_cache() for _ in range(sequences)] for m in models]
    took: list[tuple[float, ...]] = []

    def both() -> None:
        took.append(tuple(seconds(model, held, ids(new)) for model, held in zip(models, caches, strict=True)))

    benchmark.pedantic(both, rounds=ROUNDS, warmup_rounds=2)
    packed, wide = (median(column) for column in zip(*took, strict=True))
    benchmark.extra_info["packed ms"] = round(1000 * packed, 2)
    benchmark.extra_info[f"{dense} ms"] = round(1000 * wide, 2)
    benchmark.extra_info["ratio"] = round(median(low / high for low, high in took), 3)
    print(f"\n{sequences} x {new} after {context}, {dense}: {benchmark.extra_info}")
