from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.metrics import Estimate, clustered_mean, partition, wilson
from tests.examples import examples

finite = st.floats(-1e6, 1e6)
labelled = st.lists(st.tuples(finite, st.sampled_from("abcdefgh")), min_size=1, max_size=30)


def mean_of(pairs: list[tuple[float, str]]) -> Estimate:
    return clustered_mean([value for value, _ in pairs], [label for _, label in pairs])


def test_partition_sorts_keys_and_counts() -> None:
    parts = partition(["b", "a", "b", "c"])
    assert parts.keys == ("a", "b", "c")
    assert parts.index.tolist() == [1, 0, 1, 2]
    assert parts.sizes.tolist() == [1, 2, 1]


@examples(0.3)
@given(labelled, st.randoms(use_true_random=False))
def test_order_of_the_values_does_not_matter(pairs: list[tuple[float, str]], rng: random.Random) -> None:
    shuffled = rng.sample(pairs, len(pairs))
    assert mean_of(shuffled) == mean_of(pairs)


@examples(0.3)
@given(labelled)
def test_interval_holds_the_mean_and_stays_within_the_cluster_means(pairs: list[tuple[float, str]]) -> None:
    estimate = mean_of(pairs)
    assert estimate.mean == pytest.approx(np.mean([value for value, _ in pairs]), abs=1e-6)
    proportion = all(value in (0, 1) for value, _ in pairs)  # may have the wider Wilson interval
    if not proportion and estimate.low is not None and estimate.high is not None and estimate.mean is not None:
        assert estimate.low <= estimate.mean <= estimate.high
        clusters = {label: [v for v, other in pairs if other == label] for _, label in pairs}
        means = [math.fsum(values) / len(values) for values in clusters.values()]
        slack = 1e-9 * max(1.0, *map(abs, means))
        assert min(means) - slack <= estimate.low
        assert estimate.high <= max(means) + slack


@examples(0.3)
@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(2, 5))
def test_more_seeds_with_the_same_outcome_add_no_certainty(values: list[bool], seeds: int) -> None:
    labels = [str(index) for index in range(len(values))]
    once, often = clustered_mean(values, labels), clustered_mean(values * seeds, labels * seeds)
    assert (often.mean, often.low, often.high) == pytest.approx((once.mean, once.low, once.high))


@examples(0.3)
@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_a_proportion_always_has_an_interval_with_width(values: list[bool]) -> None:
    estimate = clustered_mean(values, [str(index // 2) for index in range(len(values))])
    assert estimate.low is not None
    assert estimate.high is not None
    assert 0 <= estimate.low < estimate.high <= 1


@pytest.mark.parametrize("clusters", [8, 134])
def test_agrees_with_scipy(clusters: int) -> None:
    from scipy.stats import bootstrap

    rng = np.random.default_rng(7)
    sizes = rng.integers(1, 4, clusters)
    groups = [rng.normal(index % 5, 1, size) for index, size in enumerate(sizes)]
    ours = clustered_mean(
        [float(v) for values in groups for v in values], [str(i) for i, values in enumerate(groups) for _ in values]
    )
    sums = np.array([values.sum() for values in groups])
    theirs = bootstrap(
        (sums, sizes),
        lambda s, n, axis: s.sum(axis=axis) / n.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=10_000,
        method="percentile",
        rng=np.random.default_rng(1),
    )
    # Both are Monte Carlo: their quantiles differ by a few per cent of the standard error.
    tolerance = 0.15 * theirs.standard_error
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=tolerance)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=tolerance)


def test_two_clusters_by_hand() -> None:
    # Draws of two clusters: both a (1/4), both b (1/4), one of each (1/2): the outer quantiles are the clusters' means.
    assert clustered_mean([True, False], ["a", "b"]) == Estimate(0.5, 0.0, 1.0)


def test_all_right_gives_wilson_on_clusters_not_on_values() -> None:
    estimate = clustered_mean([True] * 30, [str(index % 10) for index in range(30)])
    assert estimate == Estimate(1.0, wilson(1.0, 10)[0], 1.0)
    # Closed form for p = 1: n / (n + z^2).
    assert estimate.low == pytest.approx(10 / (10 + 1.959963984540054**2))


def test_all_wrong_mirrors_all_right() -> None:
    low, high = wilson(0.0, 10)
    assert low == 0.0
    assert high == pytest.approx(1 - wilson(1.0, 10)[0])
    assert clustered_mean([False] * 10, list("abcdefghij")) == Estimate(0.0, low, high)


@pytest.mark.parametrize(("right", "n"), [(0, 5), (5, 5), (3, 7), (1, 134)])
def test_wilson_agrees_with_scipy(right: int, n: int) -> None:
    from scipy.stats import binomtest

    theirs = binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert wilson(right / n, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_one_cluster() -> None:
    assert clustered_mean([True, False], ["a", "a"]) == Estimate(0.5, *wilson(0.5, 1))
    assert clustered_mean([1.0, 0.0], ["a", "a"]) == Estimate(0.5, *wilson(0.5, 1))
    assert clustered_mean([1.0, 0.5], ["a", "a"]) == Estimate(0.75, None, None)


def test_equal_values_that_are_no_proportion_have_no_interval() -> None:
    assert clustered_mean([0.25] * 3, ["a", "b", "c"]) == Estimate(0.25, None, None)


def test_no_values() -> None:
    assert clustered_mean([], []) == Estimate(None, None, None)


def test_refuses_what_it_cannot_average() -> None:
    with pytest.raises(ValueError, match="2 values but 1 labels"):
        clustered_mean([1.0, 2.0], ["a"])
    with pytest.raises(ValueError, match="finite"):
        clustered_mean([math.nan], ["a"])
