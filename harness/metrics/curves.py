"""Curve metrics over (cost, quality) points, one point a router."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise


def pareto_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which (cost, quality) points lie on the Pareto front: lower cost is better, higher quality is better.

    A point is off the front if and only if another point costs no more, is no worse, and is strictly better in one of
    the two. Equal points are therefore on the front together or off it together, and of points with equal cost only the
    best are on it. Definition: routing.md, "Curve metrics".

    Returns:
        One flag a point, in the order given; ``[]`` without points.

    Raises:
        ValueError: a coordinate is not a finite number.
    """
    if not all(math.isfinite(cost) and math.isfinite(quality) for cost, quality in points):
        raise ValueError("a Pareto front needs finite costs and qualities")
    on_front: set[tuple[float, float]] = set()
    best = -math.inf
    # By rising cost, best first: a point survives only if it beats everything that costs no more.
    for cost, quality in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if quality > best:
            on_front.add((cost, quality))
            best = quality
    return [point in on_front for point in points]


def pgr(quality: float, weak: float, strong: float) -> float | None:
    """Performance gap recovered: ``(R - W) / (S - W)``. Source: RouteLLM (arXiv 2406.18665), section 2.

    0 for the weak model's quality, 1 for the strong one's; below and above for routers worse than the one or better
    than the other. None where both models are equal: there is no gap to recover.
    """
    return None if strong == weak else (quality - weak) / (strong - weak)


def apgr(points: Sequence[tuple[float, float]], weak: float, strong: float) -> float | None:
    """Average PGR: the area under PGR over the share of calls to the strong model, by trapezoids, from share 0 to 1.

    Source: RouteLLM, section 2. Ours: the ends (0, W) and (1, S) are added where the points have none; of several
    points at one share their mean counts. None where both models are equal.

    Args:
        points: (share in [0, 1], quality), in any order; none gives 0.5, the straight line between the models.
        weak: Quality of always-low.
        strong: Quality of always-high.

    Raises:
        ValueError: a share lies outside [0, 1].
    """
    recovered = [(share, pgr(quality, weak, strong)) for share, quality in _curve(points, weak, strong)]
    if recovered[0][1] is None:
        return None
    return _area([(share, value) for share, value in recovered if value is not None])


def cpt(points: Sequence[tuple[float, float]], weak: float, strong: float, x: float) -> float | None:
    """Call-performance threshold: the least share of strong calls with which a PGR of ``x`` is reached.

    Source: RouteLLM, section 2, which interpolates as if quality rose with the share. It need not: ours is the first
    share at which the curve, straight between neighbouring points, reaches ``W + x (S - W)``. The ends (0, W) and
    (1, S) belong to the curve. None where both models are equal.

    Args:
        points: (share in [0, 1], quality), in any order.
        weak: Quality of always-low.
        strong: Quality of always-high.
        x: Wanted PGR in [0, 1].

    Raises:
        ValueError: ``x`` or a share lies outside [0, 1].
    """
    if not 0 <= x <= 1:
        raise ValueError(f"a PGR of {x} is not between the models: x lies in [0, 1]")
    if strong == weak:
        return None
    curve = [(share, (quality - weak) / (strong - weak)) for share, quality in _curve(points, weak, strong)]
    enough = x - 1e-12  # 0.7 - 0.6 is less than half of 0.8 - 0.6, in floating point
    if curve[0][1] >= enough:
        return curve[0][0]
    for (share, value), (later, reached) in pairwise(curve):
        if reached >= enough:
            return share + (later - share) * min(1.0, (x - value) / (reached - value))
    return 1.0  # the strong model itself, but for rounding


def aiq(points: Sequence[tuple[float, float]], lowest: float, highest: float) -> float | None:
    """Average improvement in quality: the mean height over a range of cost of the non-decreasing convex hull.

    Source: RouterBench (arXiv 2403.12031), section 3. The hull is the least concave, non-decreasing curve over the
    points: any mixture of two routers is a router. It is flat after its last point. Below its cheapest point nothing
    can be had, and the range begins there if ``lowest`` lies below. None without points, or where no range is left.

    Args:
        points: (cost, quality), in any order.
        lowest: Where the range of cost begins.
        highest: Where it ends.

    Raises:
        ValueError: a coordinate is not finite, or the range runs backwards.
    """
    if not all(math.isfinite(number) for number in (lowest, highest, *(n for point in points for n in point))):
        raise ValueError("AIQ needs finite costs and qualities")
    if highest < lowest:
        raise ValueError(f"the range of cost from {lowest} to {highest} runs backwards")
    hull = _hull(points)
    if not hull or (start := max(lowest, hull[0][0])) >= highest:
        return None
    corners = [start, *(cost for cost, _ in hull if start < cost < highest), highest]
    return _area([(cost, _height(hull, cost)) for cost in corners]) / (highest - start)


def audc(points: Sequence[tuple[float, float]], weak: float, strong: float) -> float:
    """Area under the deferral curve: quality over the share deferred to the strong model, by trapezoids, 0 to 1.

    Source: Jitkrittum et al., "When Does Confidence-Based Cascade Deferral Suffice?", 2023. Ends are as in ``apgr``.

    Raises:
        ValueError: a share lies outside [0, 1].
    """
    return _area(_curve(points, weak, strong))


def qnc(points: Sequence[tuple[float, float]], best: tuple[float, float]) -> float | None:
    """Quality-neutral cost: the least relative cost at which the quality of the best single model is reached.

    Source: Gupta et al., "Language Model Cascades: Token-level Uncertainty and Beyond", 2024. 1 where no point reaches
    it, or only more expensive ones: the model itself is then the cheapest. None where the model costs nothing.

    Args:
        points: (cost, quality) of the router, in any order.
        best: (cost, quality) of the best single model.
    """
    cost, quality = best
    if cost == 0:
        return None
    return min([1.0, *(own / cost for own, reached in points if reached >= quality)])


def ghc(success: float, success_low: float, high_share: float) -> float | None:
    """Gain per high call: ``(success - success of always-low) / share of high steps``.

    The name is DMR's (arXiv 2602.02711), which gives no formula; this one is ours. None where high is never called.
    """
    return None if high_share == 0 else (success - success_low) / high_share


def matched_random(quality: float, weak: float, strong: float) -> float | None:
    """RelayLLM's p*: the share of strong calls that a random router needs for this quality, ``(R - S) / (L - S)``.

    Source: RelayLLM (arXiv 2601.05167), where S is the small model's quality and L the large one's. Not cut off: below
    0 the router is worse than the small model, above 1 better than the large one. None where both models are equal.
    """
    return pgr(quality, weak, strong)


def cost_reduction(quality: float, share: float, weak: float, strong: float) -> float | None:
    """RelayLLM's cost reduction against a random router of the same quality: ``1 - rho / p*`` (arXiv 2601.05167).

    None where p* is 0 or below (a random router reaches such quality for nothing) or both models are equal.
    """
    needed = matched_random(quality, weak, strong)
    return None if needed is None or needed <= 0 else 1 - share / needed


def gain_over_random(quality: float, share: float, weak: float, strong: float) -> float:
    """What a router has over a random one that calls the strong model as often: ``R - [S + rho (L - S)]``.

    Source: RelayLLM (arXiv 2601.05167), as ``matched_random``. In the unit of the qualities; below 0 chance is better.
    """
    return quality - (weak + share * (strong - weak))


def ibc_lift(router: tuple[float, float], weak: tuple[float, float], strong: tuple[float, float]) -> float | None:
    """Lift of the incremental benefit per cost: ``(IBC(router) - IBC(strong)) / IBC(strong)``.

    ``IBC(m) = (quality(m) - quality(weak)) / (cost(m) - cost(weak))``. Source: AutoMix (arXiv 2310.12963), section 4. 0
    for a router on the line between both models, above for one over it. None where a cost equals the weak model's, or
    both models' qualities are equal.

    Args:
        router: (cost, quality).
        weak: The same of always-low.
        strong: The same of always-high.
    """
    if router[0] == weak[0] or strong[0] == weak[0] or strong[1] == weak[1]:
        return None
    own, base = ((quality - weak[1]) / (cost - weak[0]) for cost, quality in (router, strong))
    return (own - base) / base


def collapse_index(shares: Sequence[float]) -> float | None:
    """Share of episodes in which one model answered every step: 1 for a router that has become query-level or constant.

    Ours. None without episodes.

    Args:
        shares: Share of high steps, an episode each.
    """
    return sum(share in (0, 1) for share in shares) / len(shares) if shares else None


def _curve(points: Sequence[tuple[float, float]], weak: float, strong: float) -> list[tuple[float, float]]:
    """Points by rising share, one a share, with the models themselves at the ends."""
    by_share: dict[float, list[float]] = {}
    for share, quality in points:
        if not 0 <= share <= 1:
            raise ValueError(f"a share of strong calls lies in [0, 1], not at {share}")
        by_share.setdefault(share, []).append(quality)
    by_share.setdefault(0.0, [weak])
    by_share.setdefault(1.0, [strong])
    return [(share, math.fsum(found) / len(found)) for share, found in sorted(by_share.items())]


def _area(points: Sequence[tuple[float, float]]) -> float:
    return math.fsum((b - a) * (u + v) / 2 for (a, u), (b, v) in pairwise(points))


def _hull(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Corners of the least concave, non-decreasing curve over the points."""
    hull: list[tuple[float, float]] = []
    for cost, quality in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if hull and quality <= hull[-1][1]:
            continue
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) <= _slope(hull[-1], (cost, quality)):
            hull.pop()
        hull.append((cost, quality))
    return hull


def _slope(a: tuple[float, float], b: tuple[float, float]) -> float:
    return (b[1] - a[1]) / (b[0] - a[0])


def _height(hull: Sequence[tuple[float, float]], cost: float) -> float:
    for a, b in pairwise(hull):
        if cost <= b[0]:
            return a[1] + (cost - a[0]) * _slope(a, b)
    return hull[-1][1]
