"""Choice of thresholds: the cheapest ones that keep a share of the oracle's accuracy on development queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from routers.pyramid.trees import Floats

PLANS = 20_000
"""Most combinations of a cascade's thresholds that are tried."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a rule on development queries."""

    accuracy: float
    cost: float
    """Mean weight bytes of a query, over all its calls."""
    escalated: float
    """Share of the queries on which the oracle is asked."""


def escalate(
    scores: ArrayLike, right: ArrayLike, oracle: ArrayLike, base: ArrayLike, extra: ArrayLike, floor: float
) -> tuple[float, Outcome]:
    """Choose the least score at which the oracle is asked.

    Args:
        scores: [queries], higher where the oracle is more likely needed.
        right: [queries], whether the answer without the oracle is right.
        oracle: [queries], whether the oracle's answer is right.
        base: [queries], cost without the oracle.
        extra: [queries], cost of the oracle's answer.
        floor: Least accuracy; at most the oracle's own, which is reached by always asking it.

    Returns:
        The cheapest threshold that keeps ``floor``, the most accurate one if several are equally cheap; and its result.
    """
    score, own, its, cost, more = (np.asarray(one, dtype=float) for one in (scores, right, oracle, base, extra))
    never = float(np.nextafter(score.max(), np.inf))
    found = []
    for threshold in sorted({*score.tolist(), never}):
        asked = score >= threshold
        outcome = Outcome(
            float(np.where(asked, its, own).mean()), float((cost + more * asked).mean()), float(asked.mean())
        )
        if outcome.accuracy >= floor - 1e-12:
            found.append((threshold, outcome))
    return min(found, key=lambda one: (one[1].cost, -one[1].accuracy))


def cascade(
    chances: Floats, right: Floats, costs: Floats, oracle: Floats, oracle_costs: Floats, floor: float
) -> tuple[list[float | None], Outcome]:
    """Choose the least probability at which each member's answer is accepted; members are asked one after the other.

    All combinations of quantiles of the members' scores are tried, with as many quantiles as ``PLANS`` allows.

    Args:
        chances: [members, queries], P(right).
        right: [members, queries], 1 where the member is right.
        costs: [members, queries].
        oracle: [queries], 1 where the oracle, which is asked last, is right.
        oracle_costs: [queries].
        floor: As in ``escalate``.

    Returns:
        A threshold for each member, None for one that is not asked; and their result.
    """
    points = max(2, min(11, int(PLANS ** (1 / len(chances)) + 1e-9)) - 1)
    levels: list[list[float | None]] = [
        [*sorted(set(np.quantile(row, np.linspace(0, 1, points), method="lower").tolist())), None] for row in chances
    ]
    found = []
    for plan in product(*levels):
        outcome = _play(plan, chances, right, costs, oracle, oracle_costs)
        if outcome.accuracy >= floor - 1e-12:
            found.append((list(plan), outcome))
    return min(found, key=lambda one: (one[1].cost, -one[1].accuracy))


def _play(
    plan: Sequence[float | None], chances: Floats, right: Floats, costs: Floats, oracle: Floats, oracle_costs: Floats
) -> Outcome:
    waits = np.ones(len(oracle), dtype=bool)
    accuracy, cost = np.zeros(len(oracle)), np.zeros(len(oracle))
    for level, chance, truth, price in zip(plan, chances, right, costs, strict=True):
        if level is None:  # this member is not asked
            continue
        cost += price * waits
        taken = waits & (chance >= level)
        accuracy += truth * taken
        waits &= ~taken
    return Outcome(
        float((accuracy + oracle * waits).mean()), float((cost + oracle_costs * waits).mean()), float(waits.mean())
    )
