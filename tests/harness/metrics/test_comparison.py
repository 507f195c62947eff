"""Paired differences against scipy, by simulation, and in the cases at the edge."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.metrics import Estimate, holm, paired_difference, required_instances, wilson

VALUES = st.dictionaries(
    st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 2)), st.sampled_from([0.0, 0.5, 1.0]), max_size=20
)


def single(values: list[float]) -> dict[tuple[str, int], float]:
    return {(f"game {number:03}", 0): value for number, value in enumerate(values)}


def negated(estimate: Estimate) -> Estimate:
    mean, low, high = (None if value is None else -value for value in (estimate.mean, estimate.low, estimate.high))
    return Estimate(mean, high, low)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=10))
def test_few_instances_give_scipys_exact_p(pairs: list[tuple[int, int]]) -> None:
    first, second = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    found = paired_difference(single(first), single(second))
    expected = stats.permutation_test(
        (np.array(first) - np.array(second),), lambda x: abs(np.sum(x)), permutation_type="samples",
        alternative="greater", n_resamples=np.inf,
    )  # fmt: skip
    assert found.p == pytest.approx(expected.pvalue)


def test_many_instances_come_close_to_the_exact_test() -> None:
    rng = random.Random(0)
    first = single([float(rng.random() < 0.75) for _ in range(134)])
    second = single([float(rng.random() < 0.6) for _ in range(134)])
    found = paired_difference(first, second)
    # For wins and losses the sign test is McNemar's, whose exact form is binomial.
    wins = sum(first[key] > second[key] for key in first)
    losses = sum(first[key] < second[key] for key in first)
    assert found.p == pytest.approx(stats.binomtest(wins, wins + losses).pvalue, abs=0.01)


@given(VALUES, VALUES)
def test_swapping_the_two_turns_the_sign_alone(
    first: dict[tuple[str, int], float], second: dict[tuple[str, int], float]
) -> None:
    there, back = paired_difference(first, second), paired_difference(second, first)
    assert there.p == back.p
    assert (there.pairs, there.clusters) == (back.pairs, back.clusters)
    assert back.difference == negated(there.difference)
    if there.difference.mean is not None:
        assert there.clusters == len({i for i, _ in first} & {i for i, _ in second})
        assert there.p is not None
        assert 0 < there.p <= 1
    else:
        assert there.p is None


@given(VALUES, VALUES, st.permutations("abcdefgh"))
def test_names_of_instances_do_not_matter(
    first: dict[tuple[str, int], float], second: dict[tuple[str, int], float], names: list[str]
) -> None:
    renamed = dict(zip("abcdefgh", names, strict=True))
    one = paired_difference(first, second)
    two = paired_difference(
        {(renamed[i], s): v for (i, s), v in first.items()}, {(renamed[i], s): v for (i, s), v in second.items()}
    )
    assert one.p == pytest.approx(two.p) if one.p is not None else two.p is None


def test_episodes_of_one_instance_count_as_one() -> None:
    """Ten instances that all differ give p = 2 / 2^10, however many seeds each was played with."""
    first = {(f"game {number}", seed): 1.0 for number in range(10) for seed in range(3)}
    second = dict.fromkeys(first, 0.0)
    assert paired_difference(first, second).p == 2 / 2**10


def test_a_router_that_draws_is_compared_by_its_mean() -> None:
    drawn = {("a", seed): float(seed < 3) for seed in range(10)} | {("b", seed): float(seed < 7) for seed in range(10)}
    found = paired_difference({("a", 0): 1.0, ("b", 0): 1.0, ("c", 0): 0.0}, drawn)
    assert (found.pairs, found.clusters) == (2, 2)
    assert found.difference.mean == pytest.approx(0.5)


def test_the_same_on_all_is_no_difference() -> None:
    values = single([0.0, 1.0, 1.0])
    assert paired_difference(values, values).p == 1.0
    assert paired_difference(values, {}).p is None


SEEDS_OF_GAMES = st.dictionaries(st.sampled_from("abcdefghijkl"), st.integers(1, 4), min_size=1)


@given(SEEDS_OF_GAMES, SEEDS_OF_GAMES, st.sampled_from([0.1, 0.5, 0.9, 1.0]), st.integers(0, 1000))
def test_differences_of_successes_have_intervals_within_bounds_that_turn_with_the_sign(
    one: dict[str, int], two: dict[str, int], rate: float, seed: int
) -> None:
    rng = random.Random(seed)
    first, second = (
        {(game, number): float(rng.random() < rate) for game, count in seeds.items() for number in range(count)}
        for seeds in (one, two)
    )
    there, back = (paired_difference(*both).difference for both in ((first, second), (second, first)))
    assert back == negated(there)
    if there.mean is not None:
        assert there.low is not None
        assert there.high is not None
        assert -1 <= there.low <= there.mean <= there.high <= 1
        assert there.low < there.high


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1))
def test_differences_of_scores_turn_with_the_sign(played: list[tuple[str, float, float]]) -> None:
    first = {(game, place): one for place, (game, one, _) in enumerate(played)}
    second = {(game, place): two for place, (game, _, two) in enumerate(played)}
    there, back = (paired_difference(*both).difference for both in ((first, second), (second, first)))
    assert back == negated(there)


@pytest.mark.parametrize(("ours", "theirs", "ends"), [(1.0, 1.0, (-1, 1)), (1.0, 0.0, (-2, 0)), (0.0, 1.0, (0, 2))])
def test_equal_differences_leave_room_for_what_was_not_seen(ours: float, theirs: float, ends: tuple[int, int]) -> None:
    """Of 134 games none differs, so at most u of all would: each by 1 from a tie, by 2 from a win or a loss."""
    most = wilson(0.0, 134)[1]
    found = paired_difference(single([ours] * 134), single([theirs] * 134)).difference
    assert (found.mean, found.low, found.high) == pytest.approx(
        (ours - theirs, ours - theirs + ends[0] * most, ours - theirs + ends[1] * most)
    )


def test_equal_differences_of_scores_have_no_interval() -> None:
    assert paired_difference(single([0.5, 0.5]), single([0.0, 0.0])).difference == Estimate(0.5, None, None)


def test_false_alarms_are_as_rare_as_promised() -> None:
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(300):
        first, second = (single(list((rng.random(40) < 0.7).astype(float))) for _ in range(2))
        p = paired_difference(first, second).p
        alarms += p is not None and p < 0.05
    assert alarms / 300 < 0.08


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_equals_its_definition(values: list[float]) -> None:
    found = holm(values)
    for alpha in (0.01, 0.05, 0.2):
        # Step down: reject from the smallest on, until one is not small enough.
        rejected: set[int] = set()
        for place, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
            if values[index] * (len(values) - place) > alpha:
                break
            rejected.add(index)
        assert {index for index, value in enumerate(found) if value <= alpha} == rejected
    assert all(0 <= value <= 1 and value >= own for value, own in zip(found, values, strict=True))


def test_the_promised_number_of_instances_shows_the_gap() -> None:
    rng = np.random.default_rng(1)

    def played(count: int) -> tuple[dict[tuple[str, int], float], dict[tuple[str, int], float]]:
        won = rng.random(count) < 0.8
        lost_by_second = won & (rng.random(count) < 0.125)  # ten points in all
        return single(list(won.astype(float))), single(list((won & ~lost_by_second).astype(float)))

    needed = required_instances(*played(5000), gap=0.1)
    assert needed is not None
    seen = sum((paired_difference(*played(needed)).p or 1) < 0.05 for _ in range(200))
    assert 0.65 < seen / 200 < 0.97


def test_a_gap_that_cannot_be_asked_for() -> None:
    assert required_instances(single([1.0]), single([0.0]), 0.1) is None
    assert required_instances(single([1.0, 1.0]), single([0.0, 0.0]), 0.1) is None
    with pytest.raises(ValueError, match="above 0"):
        required_instances(single([1.0, 0.0]), single([0.0, 0.0]), 0.0)
