"""Costs of a row: the mean of an episode, and relative to always-high on the same episodes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from harness.text import quoted
from harness.traces.cost import COST_MODELS, MAIN_COST, Costs
from harness.traces.read import EpisodeNumbers


class HasCosts(Protocol):
    """A row, or what a row is made of."""

    @property
    def cost(self) -> Costs:
        """Relative to always-high."""
        ...

    @property
    def cost_absolute(self) -> Costs:
        """Mean of an episode."""
        ...


def is_normalised(section: Iterable[HasCosts]) -> bool:
    """Whether the section has always-high, so that its front and its plot show relative costs."""
    return any(one.cost[MAIN_COST] is not None for one in section)


def front_cost(one: HasCosts, section: Iterable[HasCosts]) -> float | None:
    """The cost axis of a section's plot and Pareto front: the main cost, relative where ``is_normalised``, else of an
    episode. None where it is not known (as is a cost of 0: every action takes a call).
    """
    return (one.cost if is_normalised(section) else one.cost_absolute)[MAIN_COST] or None


def mean_cost(costs: Collection[Costs]) -> Costs:
    """Mean of the costs of episodes; all None without any."""
    return _divide(_total(costs), dict.fromkeys(COST_MODELS, float(len(costs))))


def charge_errors(played: Iterable[EpisodeNumbers], reference: Iterable[EpisodeNumbers]) -> tuple[EpisodeNumbers, ...]:
    """The episodes, with those that ended in an error charged at least what ``reference`` costs on their instance.

    An episode that breaks off early would otherwise be cheap. A cost that is unknown for one of them stays as recorded.
    """
    costs = _costs_by_instance(reference)
    return tuple(
        replace(one, cost=_at_least(one.cost, _counterpart(costs[one.instance], one.seed)))
        if one.error and one.instance in costs
        else one
        for one in played
    )


def _at_least(own: Costs, least: Costs) -> Costs:
    return {
        name: amount if amount is None or (bound := least[name]) is None else max(amount, bound)
        for name, amount in own.items()
    }


def relative_cost(
    played: Sequence[EpisodeNumbers], references: Sequence[tuple[str, Sequence[EpisodeNumbers]]]
) -> tuple[Costs, list[str]]:
    """Summed cost over that of always-high on the same episodes, and notes on what limits it.

    An episode of always-high has the same seed, if there is one; else its mean over the seeds that it has counts.

    Args:
        played: The row's episodes.
        references: Label and episodes of each always-high row of the section; the first counts.
    """
    unknown: Costs = dict.fromkeys(COST_MODELS)
    if not played:
        return unknown, []
    if not references:
        return unknown, ["cost is not normalised: no always-high run in this group"]
    label, reference = references[0]
    costs = _costs_by_instance(reference)
    common = [episode for episode in played if episode.instance in costs]
    if not common:
        return unknown, ["cost is not normalised: always-high has played none of these instances"]
    notes = []
    if len(common) < len(played):
        notes.append(f"normalised cost is over the {len(common)} of {len(played)} episodes that always-high has played")
    if len(references) > 1:
        notes.append(f"several always-high rows: cost is normalised by the one labelled {quoted(label)}")
    base = _total(_counterpart(costs[episode.instance], episode.seed) for episode in common)
    if base[MAIN_COST] == 0:
        notes.append("cost is not normalised: that of always-high is 0")
    return _divide(_total(episode.cost for episode in common), base), notes


def _costs_by_instance(played: Iterable[EpisodeNumbers]) -> Mapping[str, dict[int, Costs]]:
    costs: defaultdict[str, dict[int, Costs]] = defaultdict(dict)
    for episode in played:
        costs[episode.instance][episode.seed] = episode.cost
    return costs


def _counterpart(by_seed: Mapping[int, Costs], seed: int) -> Costs:
    return by_seed[seed] if seed in by_seed else mean_cost(by_seed.values())


def _total(parts: Iterable[Costs]) -> Costs:
    """Exactly rounded sums, so that they do not depend on the order of the episodes."""
    costs = list(parts)
    return {name: _exact_sum([cost[name] for cost in costs]) for name in COST_MODELS}


def _exact_sum(amounts: Sequence[float | None]) -> float | None:
    known = [amount for amount in amounts if amount is not None]
    return math.fsum(known) if len(known) == len(amounts) else None


def _divide(costs: Costs, by: Costs) -> Costs:
    """Each cost over the one of the same name; None where one of the two is unknown or the divisor is 0."""
    return {
        name: amount / divisor if amount is not None and (divisor := by[name]) else None
        for name, amount in costs.items()
    }
