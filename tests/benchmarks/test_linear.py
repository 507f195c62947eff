"""Products of linear layers in the shapes of pool ``smollm2``: PyTorch's own against those of prepacked weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from harness.backends.linear import PrepackedLinear, prepacked_types
from tests.benchmarks.fixture import Benchmark


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("rows", [16, 64, 512])
@pytest.mark.parametrize("layout", ["torch", "oneDNN"])
def test_linear(benchmark: Benchmark, dtype: torch.dtype, rows: int, layout: str) -> None:
    if layout == "oneDNN" and dtype not in prepacked_types():
        pytest.skip(f"oneDNN has no products in {dtype} on this processor")
    layer = nn.Linear(576, 1536, bias=False, dtype=dtype)
    product: Callable[[torch.Tensor], torch.Tensor] = layer if layout == "torch" else PrepackedLinear(layer)
    x = torch.randn(rows, 576, dtype=dtype)
    with torch.inference_mode():
        benchmark.pedantic(product, (x,), rounds=200, warmup_rounds=10)
