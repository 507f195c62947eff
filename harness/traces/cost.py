"""Costs of calls, declared in one table. Every figure comes from the trace's call records and the model cards, never
from the router. Specification: docs/cost.md.

A new cost model is one more entry of ``COST_MODELS``: rows, tables, the page and plans show whatever stands there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.data import ModelCard
from harness.records import CallRecord, CallTiming, Episode, EpisodeTiming
from harness.speed.rates import Rates

Costs = dict[str, float | None]
"""Amount by name of the cost model; None where it is not known."""


@dataclass(frozen=True, slots=True)
class CostModel:
    """One way to charge a call.

    Args:
        name: Key in ``board.json``, and part of the columns' names in ``board.csv``.
        title: Name on the page and in plots.
        heading: Column of the tables, where the cost is relative to always-high.
        unit: What absolute amounts are shown in.
        scale: How much of what ``per_call`` gives makes one ``unit``.
        per_call: Amount of a call to the model of the card, None where it is not known. The third argument is its
            seconds of device time, None where they were not measured.
        timed: Whether the amount rests on these seconds.
        brief: Whether the table of the terminal, of 80 characters, shows it.
    """

    name: str
    title: str
    heading: str
    unit: str
    scale: float
    per_call: Callable[[CallRecord, ModelCard, float | None], float | None]
    timed: bool = False
    brief: bool = False


def weight_bytes(call: CallRecord, card: ModelCard, seconds: float | None = None) -> float | None:
    """The weights are read once for the prefill pass, if there is one, and once for every decoded token."""
    if not call.usage_known:
        return None
    return float(card.weight_bytes) * (call.decoded_tokens + (call.cached_tokens < call.prompt_tokens))


def _flops(call: CallRecord, card: ModelCard, seconds: float | None) -> float | None:
    """Two for each weight and computed token; attention's own products are left out."""
    if not call.usage_known:
        return None
    return 2.0 * card.parameters * (call.prompt_tokens - call.cached_tokens + call.decoded_tokens)


def _seconds(call: CallRecord, card: ModelCard, seconds: float | None) -> float | None:
    return seconds


COST_MODELS: dict[str, CostModel] = {
    model.name: model
    for model in (
        CostModel("weight_bytes", "weight bytes", "bytes", "GB", 1e9, weight_bytes, brief=True),
        CostModel("flops", "FLOPs", "FLOPs", "GFLOPs", 1e9, _flops),
        CostModel("seconds", "measured seconds", "seconds", "s", 1.0, _seconds, timed=True, brief=True),
    )
}
"""Cost models by name, in the order in which they are shown."""

MAIN_COST = "weight_bytes"
"""The cost model of the Pareto front, the curves, the plot and the choice of the best baseline."""

SECONDS = "seconds"
"""The cost model that hours are priced by."""


def call_cost(call: CallRecord, card: ModelCard, timing: CallTiming | None = None, rates: Rates | None = None) -> Costs:
    """Cost of one call to the model of ``card``; ``rates`` take the place of the seconds that ``timing`` has."""
    seconds: float | None
    if rates is not None:
        seconds = rates.seconds(call) if call.usage_known else None
    else:
        seconds = None if timing is None else timing.prefill + timing.decode
    return {name: model.per_call(call, card, seconds) for name, model in COST_MODELS.items()}


def add_costs(one: Costs, other: Costs) -> Costs:
    """Sum of two costs; a cost model that only one of them has counts as 0 in the other."""
    total = dict(one)
    for name, amount in other.items():
        before = total.get(name, 0.0)
        total[name] = None if before is None or amount is None else before + amount
    return total


def scale_costs(costs: Costs, factor: float) -> Costs:
    """Each cost times ``factor``."""
    return {name: None if amount is None else amount * factor for name, amount in costs.items()}


def episode_cost(
    episode: Episode,
    cards: Mapping[str, ModelCard],
    timing: EpisodeTiming | None = None,
    rates: Rates | None = None,
) -> Costs:
    """Cost of all calls of an episode, those that did not become the action included."""
    unknown = timing is None and rates is None
    total: Costs = {name: None if unknown and model.timed else 0.0 for name, model in COST_MODELS.items()}
    for index, step in enumerate(episode.steps):
        for number, call in enumerate(step.calls):
            measured = None if timing is None else timing.steps[index].calls[number]
            total = add_costs(total, call_cost(call, cards[call.model], measured, rates))
    return total
