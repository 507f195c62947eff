from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics import pareto_front

# Few distinct values, so that ties and duplicates are common.
points = st.lists(st.tuples(st.integers(0, 4).map(float), st.integers(0, 4).map(float)), max_size=12)


@given(points)
def test_is_the_definition(found: list[tuple[float, float]]) -> None:
    def dominated(point: tuple[float, float]) -> bool:
        cost, quality = point
        return any(c <= cost and q >= quality and (c, q) != point for c, q in found)

    assert pareto_front(found) == [not dominated(point) for point in found]


@given(points)
def test_order_does_not_matter(found: list[tuple[float, float]]) -> None:
    assert pareto_front(found[::-1]) == pareto_front(found)[::-1]


def test_by_hand() -> None:
    # cheap and bad; dear and good; dominated by both a tie in cost and a tie in quality; a duplicate of the best
    assert pareto_front([(0.2, 0.4), (1.0, 0.9), (1.0, 0.8), (1.5, 0.9), (1.0, 0.9)]) == [
        True,
        True,
        False,
        False,
        True,
    ]


def test_no_points() -> None:
    assert pareto_front([]) == []


def test_refuses_nan() -> None:
    with pytest.raises(ValueError, match="finite"):
        pareto_front([(math.nan, 1.0)])
