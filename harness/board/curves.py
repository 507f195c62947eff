"""Routing metrics of the literature: of one row against the pool's two models, and of a method's rows as a curve."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from harness.metrics import aiq, apgr, audc, cost_reduction, cpt, gain_over_random, ghc, ibc_lift, pgr, qnc

Section = tuple[str, str, str, str, int | None]
"""Task, split, pool, group and limit."""


class Point(msgspec.Struct, frozen=True):
    """The part of a finished row that routing metrics need."""

    label: str
    router: str
    curve: str
    share: float
    """Share of high steps."""
    cost: float
    """Weight bytes of an episode."""
    success: float


class RoutingMetrics(msgspec.Struct, frozen=True):
    """One row against always-low and always-high; see ``harness.metrics.curves``. None where that is not defined."""

    pgr: float | None = None
    """Also RelayLLM's p*: the share of strong calls that a random router needs for this success."""
    ghc: float | None = None
    cost_reduction: float | None = None
    gain_over_random: float | None = None
    """Success beyond that of a random router of the same high share."""
    ibc_lift: float | None = None


class Curve(msgspec.Struct, frozen=True):
    """All rows of a section that name the same curve in their suite, such as one method at several prices of high."""

    task: str
    split: str
    pool: str
    group: str
    limit: int | None
    name: str
    labels: list[str]
    apgr: float | None
    cpt20: float | None
    cpt50: float | None
    cpt80: float | None
    audc: float
    aiq: float | None
    """Over the cost from always-low's to always-high's, in weight bytes."""
    qnc: float | None
    """Against always-high, in weight bytes."""


def routing_metrics(point: Point, low: Point, high: Point) -> RoutingMetrics:
    """The metrics of one row against the rows of always-low and always-high."""
    return RoutingMetrics(
        pgr=pgr(point.success, low.success, high.success),
        ghc=ghc(point.success, low.success, point.share),
        cost_reduction=cost_reduction(point.success, point.share, low.success, high.success),
        gain_over_random=gain_over_random(point.success, point.share, low.success, high.success),
        ibc_lift=ibc_lift((point.cost, point.success), (low.cost, low.success), (high.cost, high.success)),
    )


def curves_of(section: Section, points: Sequence[Point], low: Point, high: Point) -> list[Curve]:
    """The curves of a section, in order of name.

    Args:
        section: Where the points are.
        points: Its finished rows.
        low: The row of always-low.
        high: The row of always-high.
    """
    named: defaultdict[str, list[Point]] = defaultdict(list)
    for point in points:
        if point.curve:
            named[point.curve].append(point)
    return [_curve(section, name, named[name], low, high) for name in sorted(named)]


def _curve(section: Section, name: str, points: Sequence[Point], low: Point, high: Point) -> Curve:
    shares = [(point.share, point.success) for point in points]
    costs = [(point.cost, point.success) for point in points]
    ends = sorted((low.cost, high.cost))
    task, split, pool, group, limit = section
    return Curve(
        task=task,
        split=split,
        pool=pool,
        group=group,
        limit=limit,
        name=name,
        labels=sorted(point.label for point in points),
        apgr=apgr(shares, low.success, high.success),
        cpt20=cpt(shares, low.success, high.success, 0.2),
        cpt50=cpt(shares, low.success, high.success, 0.5),
        cpt80=cpt(shares, low.success, high.success, 0.8),
        audc=audc(shares, low.success, high.success),
        aiq=aiq(costs, *ends),
        qnc=qnc(costs, (high.cost, high.success)),
    )
