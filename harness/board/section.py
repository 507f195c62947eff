"""One section of the board: its rows, compared with each other, and its curves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from harness.board.clocks import session_note
from harness.board.costs import front_cost
from harness.board.curves import Curve, Point, RoutingMetrics, Section, curves_of, routing_metrics
from harness.board.rows import Row, RowEstimates, estimate, make_row
from harness.board.runs import ENDS, REFERENCE, RunsAcrossSeeds, runs_by_router
from harness.board.significance import ComparisonInput, compare_section
from harness.metrics import pareto_front
from harness.records import RunMeta
from harness.traces.cost import MAIN_COST
from harness.traces.evidence import Evidence
from harness.traces.read import Run

_NAMESAKE = "another row of this section has the same label but another router or configuration"


def make_section(runs: Sequence[Run], note: str | None, evidence: Evidence) -> tuple[list[Row], list[Curve]]:
    """The rows and curves of the runs of one section.

    Args:
        runs: All of one task, split, pool, group and limit.
        note: Where seconds come from a speed card: a note for every row, which names it.
        evidence: What is known of entries beside their traces.

    Raises:
        MixrouteError: the runs contradict each other.
    """
    routers = runs_by_router(runs)
    references = references_of(routers)
    estimates = [estimate(one, references, by_card=note is not None) for one in routers]
    reference = next((one for one in estimates if one.runs.runs is references[0].runs), None) if references else None
    compared = compare_section([_comparison_input(one) for one in estimates])
    ranked = sorted(zip(estimates, compared, strict=True), key=lambda pair: _rank(pair[0], estimates))
    estimates = [one for one, _ in ranked]
    points = [_point(one) for one in estimates]
    finished = [point for point, one in zip(points, estimates, strict=True) if point and one.runs.compared]
    high, low = (next((point for point in finished if point.router == name), None) for name in ENDS)
    labels = Counter(one.runs.meta.label for one in estimates)
    measured = session_note(one.timed for one in estimates)
    shared = [one for one in (note, measured) if one is not None]
    rows = [
        make_row(
            one,
            reference,
            against=against,
            routing_metrics=routing_metrics(point, low, high) if point and low and high else RoutingMetrics(),
            pareto=on_front,
            evidence=evidence,
            notes=[_NAMESAKE, *shared] if labels[one.runs.meta.label] > 1 else shared,
        )
        for (one, against), point, on_front in zip(ranked, points, _front(estimates), strict=True)
    ]
    ranked_points = [point for point, one in zip(points, estimates, strict=True) if point and one.runs.is_ranked]
    return rows, curves_of(section_of(runs[0].meta), ranked_points, low, high) if low and high else []


def references_of(routers: Iterable[RunsAcrossSeeds]) -> list[RunsAcrossSeeds]:
    """The rows of always-high, the plainly labelled one first: that one counts."""
    found = [r for r in routers if r.meta.router == REFERENCE and r.compared]
    return sorted(found, key=lambda r: r.meta.label != REFERENCE)


def section_of(meta: RunMeta) -> Section:
    """Task, split, pool, group and limit: only rows of one section may be compared."""
    return meta.task, meta.split, meta.pool, meta.group, meta.limit


def section_key(row: Row) -> str:
    """The name of a row's section in links and options: ``task/split/pool/group``, and the limit if there is one."""
    parts = [row.task, row.split, row.pool, row.group[:12]]
    return "/".join(parts if row.limit is None else [*parts, str(row.limit)])


def _comparison_input(one: RowEstimates) -> ComparisonInput:
    meta = one.runs.meta
    return ComparisonInput(
        label=meta.label,
        role=meta.role,
        end=ENDS.get(meta.router, ""),
        compared=one.runs.compared,
        high_share=one.high_share,
        cost=one.cost_absolute[MAIN_COST],
        mean=one.success.mean,
        success={(played.instance, played.seed): float(played.success) for played in one.runs.played},
    )


def _rank(one: RowEstimates, section: Sequence[RowEstimates]) -> tuple[bool, float, float]:
    """Best success first, then cheapest; rows without episodes last."""
    cost = front_cost(one, section)
    return one.success.mean is None, -(one.success.mean or 0.0), float("inf") if cost is None else cost


def _point(one: RowEstimates) -> Point | None:
    """None where the row is not finished or something is unknown."""
    meta, cost = one.runs.meta, one.cost_absolute[MAIN_COST]
    if not one.runs.complete or one.high_share is None or cost is None or one.success.mean is None:
        return None
    return Point(meta.label, meta.router, meta.curve, one.high_share, cost, one.success.mean)


def _front(section: Sequence[RowEstimates]) -> list[bool]:
    """Whether each row is on the Pareto front; one that is not finished, has errors, or is of unknown cost takes no
    part.
    """
    points: dict[int, tuple[float, float]] = {}
    for index, one in enumerate(section):
        cost = front_cost(one, section)
        if one.runs.is_ranked and cost is not None and one.success.mean is not None:
            points[index] = (cost, one.success.mean)
    on_front = dict(zip(points, pareto_front(list(points.values())), strict=True))
    return [on_front.get(index, False) for index in range(len(section))]
