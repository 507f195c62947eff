"""Success of a row within budgets, by cost model. Specification: docs/board.md, Success within a budget."""

from __future__ import annotations

from collections.abc import Sequence

from harness.board.clocks import RowSeconds
from harness.metrics import success_within
from harness.traces.cost import COST_MODELS, SECONDS, Costs
from harness.traces.read import EpisodeNumbers


def success_by_cost(
    played: Sequence[EpisodeNumbers], timed: RowSeconds, reference: Costs | None
) -> dict[str, list[float] | None]:
    """By cost model, the row's ``success_within``; None where a cost or the reference is not known.

    Args:
        played: The row's episodes.
        timed: Its measured seconds, which are of some episodes and have a reference of their own.
        reference: Mean costs of an episode of always-high.
    """
    found: dict[str, list[float] | None] = {}
    for name in COST_MODELS:
        base = None if reference is None else reference[name]
        costs = [(one.cost[name], one.success) for one in played]
        if name == SECONDS and timed.clock is not None:
            seconds, base = timed.by_episode, timed.reference
            keys = [((one.instance, one.seed), one.success) for one in played]
            costs = [(seconds[key], success) for key, success in keys if key in seconds]
        known = [(cost, success) for cost, success in costs if cost is not None]
        found[name] = success_within(known, base) if known and len(known) == len(costs) and base else None
    return found
