"""Products of integers: exact, in every kernel that is used."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness.backends.quantized.products import (
    INTEGER_KERNELS,
    ROW_LIMIT,
    ByRows,
    Fbgemm,
    Float,
    Kernel,
    product_of,
)
from tests.examples import examples


def matrix(rows: int, columns: int, least: int, most: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(least, most + 1, (rows, columns), generator=generator, dtype=torch.int8)


def expected(rows: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    return (rows.to(torch.int64) @ weight.to(torch.int64).t()).float() * scale


@examples(1.0)
@given(
    kernel=st.sampled_from([Float, *INTEGER_KERNELS]),
    bits=st.integers(2, 8),
    rows=st.integers(1, 20),
    inputs=st.integers(1, 40).map(lambda n: 8 * n),
    outputs=st.integers(1, 40),
    seed=st.integers(0, 1000),
)
def test_every_kernel_that_is_exact_by_its_description_is(
    kernel: Kernel, bits: int, rows: int, inputs: int, outputs: int, seed: int
) -> None:
    weight = matrix(outputs, inputs, -(1 << bits - 1), (1 << bits - 1) - 1, seed)
    scale = torch.rand(outputs, generator=torch.Generator().manual_seed(seed)) + 0.01
    given_rows = matrix(rows, inputs, -ROW_LIMIT, ROW_LIMIT, seed + 1).float()
    try:
        product = kernel(weight, scale)
        found = product(given_rows)
    except (RuntimeError, NotImplementedError) as error:
        pytest.skip(f"a kernel is not available here: {error}")
    assert torch.equal(product.weight(), weight)
    if kernel is not Fbgemm or bits <= 4:  # with more bits its sums may overflow, which ``product_of`` finds out
        assert torch.equal(found, expected(given_rows, weight, scale))


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize(("outputs", "inputs"), [(24, 64), (7, 2000)])
def test_the_kernel_that_is_taken_is_exact_at_the_largest_sums(bits: int, outputs: int, inputs: int) -> None:
    least, most = -(1 << bits - 1), (1 << bits - 1) - 1
    weight = matrix(outputs, inputs, least, most, 3)
    weight[0], weight[1] = least, most
    scale = torch.full((outputs,), 0.25)
    product = product_of(weight, scale, bits)
    for count in (2, 100):
        rows = torch.tensor([ROW_LIMIT, -ROW_LIMIT]).float().repeat(count // 2)[:, None].expand(-1, inputs).contiguous()
        assert torch.equal(product(rows), expected(rows, weight, scale))


def test_many_rows_may_have_a_kernel_of_their_own() -> None:
    weight, scale = matrix(3, 8, -8, 7, 0), torch.ones(3)
    product = ByRows(Float(weight, scale), Float(weight, 2 * scale))
    few, many = (matrix(count, 8, -ROW_LIMIT, ROW_LIMIT, count).float() for count in (31, 32))
    assert torch.equal(product(few), expected(few, weight, scale))
    assert torch.equal(product(many), 2 * expected(many, weight, scale))
    assert product.name == "Float, from 32 rows Float"


def test_where_no_kernel_for_integers_is_left_float32_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.backends.quantized.products.INTEGER_KERNELS", ())
    weight = matrix(5, 3072, -128, -100, 0)  # sums of up to 50 million, and no power of two in all of their parts
    rows = matrix(3, 3072, 100, ROW_LIMIT, 1).float()
    scale = torch.ones(5)
    product = product_of(weight, scale, 8)
    assert product.name == "Float"
    assert torch.equal(product(rows), expected(rows, weight, scale))
