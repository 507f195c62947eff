"""Packed linear layers against the weights that they hold."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness.backends.quantized.grouped import supports
from harness.backends.quantized.integer import IntegerEmbedding, IntegerLinear, RowQuantizer
from tests.examples import examples
from tests.harness.backends.quantized.grouped_layers import ROUNDING, error_of_grouped_layer


def integer_layer(bits: int = 4, *, bias: bool = True, outputs: int = 48, inputs: int = 64) -> IntegerLinear:
    generator = torch.Generator().manual_seed(bits)
    least, most = -(1 << bits - 1), (1 << bits - 1) - 1
    weight = torch.randint(least, most + 1, (outputs, inputs), generator=generator, dtype=torch.int8)
    scale = torch.rand(outputs, generator=generator) * 0.1 + 0.01
    offset = torch.randn(outputs, generator=generator) if bias else None
    return IntegerLinear(weight, scale, offset, bits=bits, quantize=RowQuantizer(), dtype=torch.float32)


def rows_of(count: int, size: int = 64, seed: int = 0) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("bias", [True, False])
def test_rows_are_rounded_to_127_steps_and_multiplied(bits: int, bias: bool) -> None:
    layer = integer_layer(bits, bias=bias)
    x = torch.cat([rows_of(5) * 10, torch.zeros(1, 64)])
    step = x.abs().amax(1, keepdim=True).clamp_min(1e-30) / 127
    rounded = (x / step).round() * step
    expected = rounded @ layer.weight.t() + (0 if layer.bias is None else layer.bias)
    assert torch.allclose(layer(x), expected, atol=1e-4)
    assert torch.equal(layer(x[None, :3])[0], layer(x)[:3])


@examples(0.5)
@given(count=st.integers(1, 40), place=st.integers(0, 39), large=st.floats(1e-3, 1e3))
def test_a_row_is_the_same_in_any_batch(count: int, place: int, large: float) -> None:
    layer, x = integer_layer(), rows_of(count)
    x[0] *= large
    place %= count
    assert torch.equal(layer(x)[place], layer(x[place : place + 1])[0])


def test_three_terms_are_as_exact_as_float32() -> None:
    layer, x = integer_layer(), rows_of(30)
    exact = x.double() @ layer.weight.double().t() + layer.bias.double()  # type: ignore[union-attr]
    error = (layer(x) - exact).abs().max()
    layer.quantize.terms = 3
    assert (layer(x) - exact).abs().max() < 1e-5 < error


def test_layers_that_share_a_quantizer_each_see_their_own_rows() -> None:
    one, other = integer_layer(), integer_layer(bias=False)
    other.quantize = one.quantize
    x, y = rows_of(3), rows_of(3, seed=1)
    alone = [integer_layer()(x), integer_layer(bias=False)(x), integer_layer(bias=False)(y)]
    assert all(torch.equal(*both) for both in zip([one(x), other(x), other(y)], alone, strict=True))


def test_an_embedding_is_that_of_its_integers() -> None:
    integers, scale = torch.arange(-6, 6, dtype=torch.int8).view(4, 3), torch.tensor([1.0, 0.5, 2.0, 0.25])
    embedding = IntegerEmbedding(integers, scale, torch.float32, tied=False)
    assert torch.equal(embedding(torch.tensor([[3, 0]])), torch.tensor([[[0.75, 1.0, 1.25], [-6.0, -5.0, -4.0]]]))


@pytest.mark.parametrize("device", ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
@pytest.mark.parametrize("group", [32, 64, 128, None])
@pytest.mark.parametrize("zeros", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_weights_in_groups_are_those_of_their_integers_scales_and_zero_points(
    device: str, group: int | None, zeros: bool, bits: int
) -> None:
    assert error_of_grouped_layer(device, bits, group=group, zeros=zeros) < ROUNDING


@pytest.mark.parametrize(
    ("device", "outputs", "inputs", "groups", "bits"),
    [
        ("cpu", 30, 256, 4, 4),
        ("cpu", 32, 256, 16, 4),
        ("cpu", 32, 256, 4, 5),
        ("mps", 32, 256, 4, 4),
        ("cuda", 32, 40, 1, 4),
    ],
)
def test_what_has_no_kernel_is_not_supported(device: str, outputs: int, inputs: int, groups: int, bits: int) -> None:
    assert not supports(device, outputs, inputs, groups, bits)
