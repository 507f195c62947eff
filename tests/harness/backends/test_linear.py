"""Linear layers in oneDNN's layout: the same function, on the CPU only."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from harness.backends.linear import LaidOutLinear, lay_out


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("shape", [(5,), (1, 16), (2, 3, 7)])
def test_a_laid_out_layer_computes_the_same(
    bias: bool, dtype: torch.dtype, tolerance: float, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(24, 40, bias=bias)
    x = torch.randn(*shape, 24).to(dtype)
    expected = layer.double()(x.double())
    found = LaidOutLinear(layer.to(dtype))(x)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)


def test_every_plain_layer_is_laid_out_and_its_weight_held_once() -> None:
    class Other(nn.Linear):
        """A layer of a library that quantizes: it has a forward of its own."""

    inner = nn.Sequential(nn.Linear(4, 8), nn.Embedding(8, 4), Other(8, 4))
    model: Any = nn.Sequential(inner, nn.Linear(4, 4, dtype=torch.float64), nn.Linear(4, 4, device="meta"))
    lay_out(model)
    assert [type(layer) for layer in inner] == [LaidOutLinear, nn.Embedding, Other]
    assert [type(layer) for layer in model[1:]] == [nn.Linear, nn.Linear]
    assert [name for name, _ in inner.named_parameters()] == ["1.weight", "2.weight", "2.bias"]
