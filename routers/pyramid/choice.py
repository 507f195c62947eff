"""Thresholds: the cheapest on development queries that keep a share of the oracle's accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

from routers.pyramid.trees import Floats

PLANS = 20_000
"""Most plans of a cascade that are tried."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rule does on development queries."""

    accuracy: float
    cost: float
    """Mean weight bytes of a query, all calls together."""
    escalated: float
    """Share of the queries on which the oracle is asked."""


def escalate(
    scores: ArrayLike, right: ArrayLike, oracle: ArrayLike, base: ArrayLike, extra: ArrayLike, floor: float
) -> tuple[float, Outcome]:
    """The threshold on a score from which on the oracle is asked.

    Args:
        scores: Of each query; the higher, the more the oracle is wanted.
        right: Whether the answer without the oracle is right.
        oracle: Whether the oracle's is.
        base: Cost without the oracle.
        extra: Cost of the oracle's answer.
        floor: Accuracy to be kept; at most the oracle's own, which asking it always gives.

    Returns:
        The cheapest threshold that keeps ``floor`` and, of equally cheap ones, the most accurate; what it does.
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
    """The probabilities from which on each member's answer is accepted, the members asked one after the other.

    All combinations of quantiles of each member's own scores are tried, so many of them as keep within ``PLANS``.

    Args:
        chances: [members, queries], P(right).
        right: [members, queries], 1 where the member is right.
        costs: [members, queries].
        oracle: [queries], 1 where the oracle, which is asked last, is right.
        oracle_costs: [queries].
        floor: As in ``escalate``.

    Returns:
        A threshold a member, None for one that is not asked; what they do.
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
        if level is None:  # not even asked
            continue
        cost += price * waits
        taken = waits & (chance >= level)
        accuracy += truth * taken
        waits &= ~taken
    return Outcome(
        float((accuracy + oracle * waits).mean()), float((cost + oracle_costs * waits).mean()), float(waits.mean())
    )
