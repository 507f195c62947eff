"""From calls to cost. Every figure comes from the trace's call records and the model cards, never from the router.

Costs of one call (specification: docs/cost.md):

- ``weight_bytes``: bytes of weights read, ``(decoded + 1) * weight_bytes(model)``: the weights once for the prefill
  pass and once for every decoded token; without the 1 where nothing of the prompt was left to read. The nominal cost of
  precision at batch 1.
- ``flops``: ``2 * parameters * (computed prompt tokens + decoded tokens)``; attention's own products are left out.
- ``seconds``: the call's measured share of device time, prefill and decode. Needs the timings file; or a speed card,
  at a stated concurrency (``harness.speed``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.data import ModelCard
from harness.records import CallRecord, CallTiming, Episode, EpisodeTiming
from harness.speed.rates import Rates


@dataclass(frozen=True, slots=True)
class Cost:
    """Summed cost of calls; ``seconds`` is None as soon as one part was not measured."""

    weight_bytes: float = 0.0
    flops: float = 0.0
    seconds: float | None = 0.0

    def __add__(self, other: Cost) -> Cost:
        seconds = None if self.seconds is None or other.seconds is None else self.seconds + other.seconds
        return Cost(self.weight_bytes + other.weight_bytes, self.flops + other.flops, seconds)


def call_cost(call: CallRecord, card: ModelCard, timing: CallTiming | None = None, rates: Rates | None = None) -> Cost:
    """Cost of one call to the model of ``card``; ``rates`` take the place of what ``timing`` has measured."""
    measured = None if timing is None else timing.prefill + timing.decode
    return Cost(
        weight_bytes=float(card.weight_bytes) * (call.decoded_tokens + (call.cached_tokens < call.prompt_tokens)),
        flops=2.0 * card.parameters * (call.prompt_tokens - call.cached_tokens + call.decoded_tokens),
        seconds=measured if rates is None else rates.seconds(call),
    )


def episode_cost(
    episode: Episode,
    cards: Mapping[str, ModelCard],
    timing: EpisodeTiming | None = None,
    rates: Rates | None = None,
) -> Cost:
    """Cost of all calls of an episode, those that did not become the action included."""
    total = Cost()
    for index, step in enumerate(episode.steps):
        for number, call in enumerate(step.calls):
            measured = None if timing is None else timing.steps[index].calls[number]
            total += call_cost(call, cards[call.model], measured, rates)
    return total
