"""Percentiles and success within a budget, against NumPy and by counting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics import BUDGETS, percentile, success_within

VALUES = st.lists(st.floats(min_value=1e-6, max_value=1e6), min_size=1, max_size=40)
EPISODES = st.lists(st.tuples(st.floats(min_value=0, max_value=1e6), st.booleans()), min_size=1, max_size=40)


@given(VALUES, st.floats(min_value=0, max_value=1))
def test_a_percentile_is_numpys_and_lies_between_the_values(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert min(values) <= found <= max(values)
    assert found == pytest.approx(float(np.quantile(values, share)), rel=1e-9)


def test_percentiles_by_hand() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([1.0, 2.0], 0.95) == pytest.approx(1.95)
    assert percentile([7.0], 0.99) == 7.0
    for values, share in (([], 0.5), ([1.0], 1.5)):
        with pytest.raises(ValueError, match="percentile"):
            percentile(values, share)


@given(EPISODES, st.floats(min_value=1e-3, max_value=1e3))
def test_success_within_a_budget_rises_to_the_success(episodes: list[tuple[float, bool]], reference: float) -> None:
    found = success_within(episodes, reference)
    assert len(found) == len(BUDGETS)
    assert found == sorted(found)
    assert found[0] >= 0
    assert found[-1] <= sum(won for _, won in episodes) / len(episodes)
    dearer = success_within([(2 * cost, won) for cost, won in episodes], reference)
    assert all(more <= less for more, less in zip(dearer, found, strict=True))
    cheap = [(0.0, won) for _, won in episodes]
    assert set(success_within(cheap, reference)) == {sum(won for _, won in episodes) / len(episodes)}


def test_success_within_a_budget_by_hand() -> None:
    found = dict(
        zip(BUDGETS, success_within([(3.0, True), (10.0, True), (1.0, False), (99.0, True)], 10.0), strict=True)
    )
    assert (found[0.2], found[0.3], found[0.9], found[1.0], found[2.0]) == (0.0, 0.25, 0.25, 0.5, 0.5)
    # Three tenths of the reference are within a budget of 0.3, although their quotient is 0.30000000000000004.
    assert dict(zip(BUDGETS, success_within([(4.9 * 3 / 10, True)], 4.9), strict=True))[0.3] == 1.0
    with pytest.raises(ValueError, match="success within"):
        success_within([], 1.0)
    with pytest.raises(ValueError, match="success within"):
        success_within([(1.0, True)], 0.0)
