"""The routing metrics: worked examples of the papers, bounds, and curves that do not behave."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.metrics.curves import (
    aiq,
    apgr,
    audc,
    collapse_index,
    cost_reduction,
    cpt,
    gain_over_random,
    ghc,
    ibc_lift,
    matched_random,
    pgr,
    qnc,
)

UNIT = st.integers(0, 20).map(lambda number: number / 20)
CURVE = st.lists(st.tuples(UNIT, UNIT), max_size=10)
X = st.sampled_from([0.2, 0.5, 0.8])


def test_a_curve_that_is_not_monotone_by_hand() -> None:
    """.60/.70/.66/.80 at shares 0/.25/.5/1: half the gap is first reached at .25; interpolation that assumes a rising
    curve says .643.
    """
    points = [(0.25, 0.7), (0.5, 0.66)]
    assert cpt(points, 0.6, 0.8, 0.5) == pytest.approx(0.25)
    assert cpt(points, 0.6, 0.8, 0.25) == pytest.approx(0.125)
    assert cpt(points, 0.6, 0.8, 0.8) == pytest.approx(0.5 + 0.5 * (0.76 - 0.66) / (0.8 - 0.66))
    assert apgr(points, 0.6, 0.8) == pytest.approx(0.25 * 0.25 + 0.25 * 0.4 + 0.5 * 0.65)


def test_relayllms_own_figures() -> None:
    """Qwen3-1.7B of 42.50 with a teacher of 54.12: 49.52 at 1.07 percent is worth 60.4 percent at random, and is 6.9
    points more than 1.07 percent at random.
    """
    assert matched_random(49.52, 42.50, 54.12) == pytest.approx(0.604, abs=1e-3)
    assert cost_reduction(49.52, 0.0107, 42.50, 54.12) == pytest.approx(0.982, abs=1e-3)
    assert gain_over_random(49.52, 0.0107, 42.50, 54.12) == pytest.approx(6.9, abs=0.05)


@given(CURVE)
def test_no_gap_gives_no_figure(points: list[tuple[float, float]]) -> None:
    assert pgr(0.7, 0.5, 0.5) is None
    assert apgr(points, 0.5, 0.5) is None
    assert cpt(points, 0.5, 0.5, 0.5) is None
    assert cost_reduction(0.6, 0.1, 0.5, 0.5) is None
    assert ibc_lift((0.5, 0.5), (0.2, 0.5), (1.0, 0.5)) is None


@given(CURVE, UNIT, UNIT, X)
def test_cpt_is_the_first_place_where_the_curve_is_high_enough(
    points: list[tuple[float, float]], weak: float, strong: float, x: float
) -> None:
    assume(strong > weak)
    found = cpt(points, weak, strong, x)
    assert found is not None
    assert 0 <= found <= 1
    ends = [*points, *([] if any(s == 0 for s, _ in points) else [(0.0, weak)])]
    ends += [] if any(s == 1 for s, _ in points) else [(1.0, strong)]
    by_share = {share: [q for s, q in ends if s == share] for share, _ in ends}
    for share, qualities in by_share.items():
        if share < found - 1e-9:
            assert (sum(qualities) / len(qualities) - weak) / (strong - weak) < x + 1e-9


@given(CURVE, UNIT, UNIT)
def test_areas_keep_their_bounds_and_know_no_order(
    points: list[tuple[float, float]], weak: float, strong: float
) -> None:
    area = audc(points, weak, strong)
    heights = [weak, strong, *(quality for _, quality in points)]
    assert min(heights) - 1e-9 <= area <= max(heights) + 1e-9
    assert audc(points[::-1], weak, strong) == pytest.approx(area)
    average = apgr(points, weak, strong)
    if average is not None:
        assert average == pytest.approx((area - weak) / (strong - weak))
    assert apgr([], 0.2, 0.9) == pytest.approx(0.5)


@given(st.lists(st.tuples(UNIT, UNIT), min_size=1, max_size=10), UNIT)
def test_aiq_is_that_of_the_hull(points: list[tuple[float, float]], extra: float) -> None:
    found = aiq(points, 0.0, 1.0)
    if found is None:
        assert min(cost for cost, _ in points) == 1
        return
    assert min(q for _, q in points) - 1e-9 <= found <= max(q for _, q in points) + 1e-9
    assert aiq(points[::-1], 0.0, 1.0) == pytest.approx(found)
    # A mixture of two routers is a router, and one that is worse and dearer changes nothing.
    (a, u), (b, v) = points[0], points[-1]
    mixture = (a + extra * (b - a), u + extra * (v - u))
    assert aiq([*points, mixture], 0.0, 1.0) == pytest.approx(found)
    cheapest = min(points, key=lambda point: (point[0], -point[1]))
    assert aiq([*points, (min(1.0, cheapest[0] + extra), cheapest[1])], 0.0, 1.0) == pytest.approx(found)


def test_aiq_by_hand() -> None:
    assert aiq([(0.0, 0.5), (1.0, 1.0)], 0.0, 1.0) == pytest.approx(0.75)
    assert aiq([(0.0, 0.5), (0.5, 1.0), (1.0, 0.2)], 0.0, 1.0) == pytest.approx(0.875)
    assert aiq([(0.5, 0.6)], 0.0, 1.0) == pytest.approx(0.6)
    assert aiq([(0.5, 0.6)], 0.0, 0.5) is None
    assert aiq([], 0.0, 1.0) is None
    with pytest.raises(ValueError, match="backwards"):
        aiq([(0.0, 1.0)], 1.0, 0.0)
    with pytest.raises(ValueError, match="finite"):
        aiq([(0.0, math.nan)], 0.0, 1.0)


@given(CURVE, st.tuples(UNIT, UNIT))
def test_qnc_is_never_above_one(points: list[tuple[float, float]], best: tuple[float, float]) -> None:
    found = qnc(points, best)
    if best[0] == 0:
        assert found is None
        return
    assert found is not None
    assert found <= 1
    assert found == 1 or any(cost == pytest.approx(found * best[0]) and quality >= best[1] for cost, quality in points)


def test_a_router_on_the_line_between_the_models_has_no_lift() -> None:
    weak, strong = (0.4, 0.5), (1.0, 0.8)
    assert ibc_lift((0.7, 0.65), weak, strong) == pytest.approx(0.0)
    assert ibc_lift((0.7, 0.8), weak, strong) == pytest.approx(1.0)
    assert ibc_lift(strong, weak, strong) == pytest.approx(0.0)
    assert ibc_lift((0.4, 0.7), weak, strong) is None


def test_gain_per_high_call() -> None:
    assert ghc(0.9, 0.7, 0.4) == pytest.approx(0.5)
    assert ghc(0.7, 0.7, 0.0) is None


@given(st.lists(UNIT, max_size=20))
def test_collapse_counts_episodes_of_one_choice(shares: list[float]) -> None:
    found = collapse_index(shares)
    assert (found is None) == (not shares)
    if found is not None:
        assert 0 <= found <= 1
        assert (found == 1) == set(shares).issubset({0.0, 1.0})


@pytest.mark.parametrize("function", [apgr, audc])
def test_shares_are_shares(function: object) -> None:
    assert callable(function)
    with pytest.raises(ValueError, match="not at 1.5"):
        function([(1.5, 0.5)], 0.2, 0.8)
    with pytest.raises(ValueError, match=r"x lies in \[0, 1\]"):
        cpt([], 0.2, 0.8, 1.5)
