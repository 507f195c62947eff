"""Tests of two independent samples: against scipy, by simulation, and in the cases at the edge."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.metrics import excess_cost, excess_test, lower_test

OUTCOMES = st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=5)
COSTS = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=6)


def scipys(fresh: list[float], claimed: list[float]) -> float:
    found = stats.permutation_test(
        (np.array(fresh), np.array(claimed)), lambda a, b: a.sum(), permutation_type="independent",
        alternative="less", n_resamples=np.inf, vectorized=False,
    )  # fmt: skip
    return float(found.pvalue)


@given(OUTCOMES, OUTCOMES)
def test_the_p_value_is_scipys_exact_one(fresh: list[float], claimed: list[float]) -> None:
    assume(len(fresh) > 1 and len(claimed) > 1)
    assert lower_test(fresh, claimed) == pytest.approx(scipys(fresh, claimed))


@given(st.lists(st.integers(-10, 10), min_size=2, max_size=4), st.lists(st.integers(-10, 10), min_size=2, max_size=4))
def test_means_over_ten_seeds_are_computed_exactly_too(fresh: list[int], claimed: list[int]) -> None:
    ours, theirs = ([value / 10 for value in values] for values in (fresh, claimed))
    assert lower_test(ours, theirs) == pytest.approx(scipys([float(v) for v in fresh], [float(v) for v in claimed]))


def test_values_without_a_common_fraction_come_close_to_the_exact_test() -> None:
    rng = random.Random(0)
    fresh, claimed = [rng.gauss(0, 1) for _ in range(5)], [rng.gauss(1, 1) for _ in range(6)]
    assert lower_test(fresh, claimed) == pytest.approx(scipys(fresh, claimed), abs=0.01)


@given(OUTCOMES, OUTCOMES, st.randoms())
def test_the_p_value_needs_no_order_and_no_origin(fresh: list[float], claimed: list[float], rng: random.Random) -> None:
    p = lower_test(fresh, claimed)
    assert p is not None
    assert 0 < p <= 1
    moved = [value + 3 for value in fresh], [value + 3 for value in claimed]
    rng.shuffle(moved[0])
    rng.shuffle(moved[1])
    assert lower_test(*moved) == pytest.approx(p)


def test_samples_of_one_distribution_are_rarely_found_lower() -> None:
    rng = random.Random(1)
    values = [-1.0, 0.0, 0.0, 0.0, 1.0]
    samples = [([rng.choice(values) for _ in range(20)], [rng.choice(values) for _ in range(60)]) for _ in range(200)]
    found = [lower_test(*sample) for sample in samples]
    assert sum(p is not None and p < 0.05 for p in found) <= 18  # 10 expected at most, standard deviation 3.1


def test_a_fall_is_found_and_a_rise_is_not() -> None:
    claimed = [0.0] * 100 + [1.0] * 20
    fallen, risen = ([sign] * 8 + [0.0] * 12 for sign in (-1.0, 1.0))
    low, high = lower_test(fallen, claimed), lower_test(risen, claimed)
    assert low is not None
    assert low < 1e-5
    assert high is not None
    assert high > 0.99


def test_what_cannot_be_tested() -> None:
    assert lower_test([], [1.0]) is None
    assert lower_test([1.0], []) is None
    assert lower_test([0.1 + 0.2] * 3, [0.1 + 0.2] * 5) == 1
    with pytest.raises(ValueError, match="finite"):
        lower_test([float("nan")], [0.0])


@given(COSTS, COSTS, st.integers(2, 5))
def test_the_excess_is_a_ratio_of_ratios(
    fresh: list[tuple[int, int]], claimed: list[tuple[int, int]], factor: int
) -> None:
    found = excess_cost(fresh, claimed)
    dearer = excess_cost([(own * factor, other) for own, other in fresh], claimed)
    assert None not in (found.mean, found.low, found.high, dearer.mean)
    (own, other), (was, beside) = (tuple(sum(pair[i] for pair in some) for i in range(2)) for some in (fresh, claimed))
    assert found.mean == pytest.approx(own / other / (was / beside))
    assert dearer.mean == pytest.approx(factor * (found.mean or 0))
    assert (found.low or 0) <= (found.mean or 0) <= (found.high or 0)
    assert excess_cost(fresh[::-1], claimed[::-1]) == found


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(50):
        samples = []
        for size in (30, 100):
            reference = rng.gamma(4, 10, size)
            samples.append(list(zip((reference * rng.gamma(4, 0.15, size)).tolist(), reference.tolist(), strict=True)))
        found = excess_cost(*samples)
        covered += (found.low or 0) <= 1 <= (found.high or 0)
    assert 42 <= covered <= 50  # 47.5 expected of an ideal interval


def test_an_unknown_cost_has_no_excess() -> None:
    for fresh, claimed in (([], [(1, 1)]), ([(1, 1)], []), ([(1, 0)], [(1, 1)]), ([(1, 1)], [(0, 1)])):
        assert excess_cost(fresh, claimed).mean is None
        assert excess_test(fresh, claimed) is None


def test_a_dearer_sample_is_found_with_the_level_kept_however_few_the_instances() -> None:
    rng = np.random.default_rng(3)

    def sample(size: int, factor: float = 1.0) -> list[tuple[float, float]]:
        return [(factor * own, other) for own, other in rng.gamma(2, 10, (size, 2)).tolist()]

    equal = [excess_test(sample(8), sample(5)) for _ in range(60)]
    assert sum(p is not None and p < 0.1 for p in equal) <= 13  # 6 expected, standard deviation 2.3
    dearer, cheaper = (excess_test(sample(30, factor), sample(30)) for factor in (2.5, 0.4))
    assert dearer is not None
    assert dearer < 0.01
    assert cheaper is not None
    assert cheaper > 0.99


@settings(max_examples=5)
@given(COSTS)
def test_equal_ratios_are_no_excess(costs: list[tuple[int, int]]) -> None:
    same = [(3 * other, other) for _, other in costs]
    assert excess_test(same, same) == 1
