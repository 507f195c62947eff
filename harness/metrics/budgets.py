"""Percentiles of latency, and success within a budget."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor

BUDGETS = tuple(step / 10 for step in range(21))
"""Budgets of ``success_within``, as multiples of the reference's mean cost."""
_SLACK = 1e-9
"""By which a cost may exceed its budget: it stands for the rounding of a quotient."""


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the values lie, linear between two of them (definition 7 of Hyndman and Fan,
    1996; the default of NumPy). Of a single value it is that one.

    Raises:
        ValueError: there are no values, or the share is not from 0 to 1.
    """
    if not values or not 0 <= share <= 1:
        raise ValueError(f"no {share} percentile of {len(values)} values")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = min(floor(place), len(ordered) - 1)
    above = min(below + 1, len(ordered) - 1)
    # Not a + part * (b - a): rounded, that may lie beyond b.
    part = place - below
    return min(max((1 - part) * ordered[below] + part * ordered[above], ordered[below]), ordered[above])


def success_within(episodes: Sequence[tuple[float, bool]], reference: float) -> list[float]:
    """Share of all episodes that succeeded at a cost of at most b times ``reference``, for each b of ``BUDGETS``.

    It never falls as the budget grows, and ends at most at the success. Source: the definition is ours; it is the
    cumulative distribution of the cost of successful episodes, where an episode without success never arrives.

    Args:
        episodes: Cost and success of each; at least one.
        reference: The mean cost of an episode of the reference; above 0.

    Raises:
        ValueError: there are no episodes, or the reference costs nothing.
    """
    if not episodes or reference <= 0:
        raise ValueError("success within a budget needs episodes and a reference that costs something")
    won = sorted(cost / reference for cost, success in episodes if success)
    return [sum(cost <= budget + _SLACK for cost in won) / len(episodes) for budget in BUDGETS]
