"""Rounding to significant digits, and means that stay between the extremes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.numbers import bounded_mean, round_significant

NUMBERS = st.floats(-1e300, 1e300)


@given(NUMBERS)
def test_rounding_again_changes_nothing(value: float) -> None:
    assert round_significant(round_significant(value)) == round_significant(value)


@given(st.floats(1e-300, 1e300))
def test_rounding_keeps_five_digits(value: float) -> None:
    assert abs(round_significant(value) - value) <= 5e-5 * value
    assert len(f"{round_significant(value):.15g}".partition("e")[0].replace(".", "").strip("0")) <= 5


@given(NUMBERS, NUMBERS)
def test_rounding_keeps_the_order(one: float, other: float) -> None:
    less, more = sorted((one, other))
    assert round_significant(less) <= round_significant(more)


def test_rounding_leaves_what_has_no_digits() -> None:
    assert math.isnan(round_significant(math.nan))
    assert [round_significant(value) for value in (math.inf, -math.inf, 0.0)] == [math.inf, -math.inf, 0.0]
    assert [round_significant(-0.1234565, digits) for digits in (2, 5, 6)] == [-0.12, -0.12346, -0.123456]


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=9))
def test_a_mean_lies_between_the_extremes(values: list[float]) -> None:
    assert min(values) <= bounded_mean(values) <= max(values)
    assert bounded_mean(values) == pytest.approx(math.fsum(values) / len(values), rel=1e-15, abs=1e-300)


def test_the_mean_of_equal_numbers_is_that_number() -> None:
    assert bounded_mean([0.1] * 3) == 0.1  # the rounded sum of three, divided by three, is the next larger number
