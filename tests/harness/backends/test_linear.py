"""Prepacked linear layers: the same function as before, on processors with and without products in bfloat16."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from harness.backends.linear import PrepackedLinear, prepack_linear_layers, prepacked_types


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("shape", [(5,), (1, 16), (2, 3, 7)])
def test_a_prepacked_layer_computes_the_same(
    bias: bool, dtype: torch.dtype, tolerance: float, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(24, 40, bias=bias)
    x = torch.randn(*shape, 24).to(dtype)
    expected = layer.double()(x.double())
    model = nn.Sequential(layer.to(dtype))
    prepack_linear_layers(model)
    assert isinstance(model[0], PrepackedLinear) == (dtype in prepacked_types())
    found = model(x)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)


def test_every_plain_layer_is_prepacked_and_its_weight_held_once() -> None:
    class Other(nn.Linear):
        """A layer of a library that quantizes: it has a forward of its own."""

    inner = nn.Sequential(nn.Linear(4, 8), nn.Embedding(8, 4), Other(8, 4))
    model: Any = nn.Sequential(inner, nn.Linear(4, 4, dtype=torch.float64), nn.Linear(4, 4, device="meta"))
    prepack_linear_layers(model)
    assert [type(layer) for layer in inner] == [PrepackedLinear, nn.Embedding, Other]
    assert [type(layer) for layer in model[1:]] == [nn.Linear, nn.Linear]
    assert [name for name, _ in inner.named_parameters()] == ["1.weight", "2.weight", "2.bias"]
