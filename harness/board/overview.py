"""One sentence a section: its best router within a budget, what it saves, and whether chance explains the difference.

Specification: docs/board.md, Overview.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from harness.board.rows import Row
from harness.board.runs import ENDS, REFERENCE
from harness.board.significance import KINDS, STARS, Against
from harness.traces.cost import COST_MODELS, MAIN_COST

OVERVIEW_BUDGETS = (0.5, 0.75, 0.9, 1.0)
"""Budgets of the overview: most that a row may cost, in multiples of always-high's cost on the same episodes."""

MAIN_BUDGET = 0.75
"""Budget at which the overview opens."""

FEW_INSTANCES = 30
"""Fewest instances without a warning: with fewer, a difference of ten points is rarely told from chance."""


_LIMITS = (1.0, *STARS)


class BestWithinBudget(msgspec.Struct, frozen=True):
    """The row of a section with the best success among those that cost at most ``budget``."""

    task: str
    split: str
    pool: str
    group: str
    limit: int | None
    cost_model: str
    budget: float
    label: str
    """Label of the row; empty where no row costs so little."""
    run: str
    """Hash of its first run, which tells rows of one label apart; empty likewise."""
    verdict: str
    """What can be said of it, in words; without such a row, what the cheapest one costs."""


def overview_of(section: Sequence[Row]) -> list[BestWithinBudget]:
    """The best rows of a section, by cost model that it knows relative to always-high, and by budget.

    Rows of always-high and of oracles, rows that take no part in fronts, those whose verification failed and, for
    seconds, those that nothing bounds are not chosen.
    """
    found = []
    first = section[0]
    for name, model in COST_MODELS.items():
        rows = [(cost, row) for row in section if (cost := _cost(row, name)) is not None]
        for budget in OVERVIEW_BUDGETS if rows else ():
            within = [
                (row.success.mean or 0.0, -cost, place) for place, (cost, row) in enumerate(rows) if cost <= budget
            ]
            place = max(within)[2] if within else None
            if place is None:
                cost, row = min(rows, key=lambda pair: pair[0])
                verdict = f"none; the cheapest, {row.label}, takes {cost:.2f} of always-high's {model.title}"
            else:
                cost, row = rows[place]
                verdict = verdict_of(row, {name: cost})
            chosen = ("", "") if place is None else (row.label, row.entry[0].hash)
            found.append(
                BestWithinBudget(
                    first.task, first.split, first.pool, first.group, first.limit, name, budget, *chosen, verdict
                )
            )
    return found


def verdict_of(row: Row, costs: Mapping[str, float]) -> str:
    """What a row saves, and how its success differs from that of always-high, of random and of untrained rules.

    Args:
        row: The row.
        costs: Its costs over always-high's, by cost model.
    """
    by_kind = {one.kind: one for one in row.against}
    parts = [
        f"saves {100 * (1 - cost):.0f}% of {title}" if cost <= 1 else f"takes {100 * (cost - 1):.0f}% more {title}"
        for title, cost in ((COST_MODELS[name].title, cost) for name, cost in costs.items())
    ]
    high, random, rule = (by_kind.get(kind) for kind in KINDS)
    parts.append(_against(high, REFERENCE) if high else f"not compared with {REFERENCE}")
    if row.role == "trained":
        parts.append(_against(random, "random at its share") if random else "no random row at its share")
        parts.append(
            _against(rule, f"{rule.label}, the best untrained row") if rule else "no untrained row costs as little"
        )
    else:
        parts.append("one model alone" if row.router in ENDS else f"untrained ({row.role})")
    if row.instances < FEW_INSTANCES:
        parts.append(f"only {row.instances} instances")
    return "; ".join(parts)


def _cost(row: Row, model: str) -> float | None:
    """The row's relative cost, if it may be chosen by it."""
    chosen = row.ranked and row.role != "oracle" and row.verified != "failed" and row.router != REFERENCE
    return row.bounded_cost(model) if chosen else None


def _against(one: Against, whom: str) -> str:
    """The difference in words: with its p-value where it is significant, else with its interval."""
    if one.difference.mean is None:
        return f"no games in common with {whom}"
    points = 100 * one.difference.mean
    if one.stars:
        return f"{abs(points):.1f} points {'above' if points > 0 else 'below'} {whom} (p < {_LIMITS[len(one.stars)]:g})"
    low, high = one.difference.low, one.difference.high
    interval = "" if low is None or high is None else f" [{100 * low:+.1f}, {100 * high:+.1f}]"
    return f"not told from {whom} ({points:+.1f}{interval})"


def overview_lines(overview: Iterable[BestWithinBudget]) -> list[str]:
    """One line a section: its best row at ``MAIN_BUDGET`` of the main cost."""
    return [
        f"{one.task} {one.split}, pool {one.pool}{'' if one.limit is None else f', limit {one.limit}'}: "
        f"best within {one.budget:g} of always-high's {COST_MODELS[one.cost_model].title}: "
        + (f"{one.label}: {one.verdict}" if one.label else one.verdict)
        for one in overview
        if (one.cost_model, one.budget) == (MAIN_COST, MAIN_BUDGET)
    ]
