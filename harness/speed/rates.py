"""Seconds of a call from a speed card, at a concurrency that the reader states. Specification: docs/cost.md."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from pathlib import Path

from harness.errors import MixrouteError
from harness.records import CallRecord
from harness.speed.card import SpeedCard, read_speed_card
from harness.text import quoted


@dataclass(frozen=True, slots=True)
class _Speed:
    """One model at one concurrency: seconds of prefill and decode by length of the prompt."""

    lengths: tuple[float, ...]
    prefill: tuple[float, ...]
    """Seconds of one prompt's share of the device, not of a token."""
    decode: tuple[float, ...]
    """Seconds a token."""


class Rates:
    """Charges calls by a speed card; counts those that lie beyond the lengths that it has.

    Prefill is charged by the number of prompt tokens that are not cached: linear between the lengths that were
    measured; below the shortest as the shortest, since a pass reads all weights however few tokens it takes; above the
    longest in proportion. Decode is charged by the length of the whole prompt, linear between, constant beyond.
    Between two concurrencies that were measured, seconds follow a power law.

    Args:
        card: The measurements.
        concurrency: Calls in flight to charge for.
        source: Name of the card in ``note`` and in errors.

    Raises:
        MixrouteError: the card does not reach that concurrency.
    """

    def __init__(self, card: SpeedCard, concurrency: float, source: str) -> None:
        self._card = card
        self._concurrency = concurrency
        self._source = source
        self._speeds = {model: _speed(card, model, concurrency, source) for model in card.models}
        self._between = any(
            concurrency not in {cell.concurrency for cell in card.cells if cell.model == model} for model in card.models
        )
        self._calls = self._shorter = self._longer = 0

    def seconds(self, call: CallRecord) -> float:
        """Device time of one call: its share, with ``concurrency`` calls like it in flight.

        Raises:
            MixrouteError: the card has no such model.
        """
        speed = self._speed_of(call.model)
        unread = call.prompt_tokens - call.cached_tokens
        self._calls += 1
        self._shorter += 0 < unread < speed.lengths[0]
        self._longer += call.prompt_tokens > speed.lengths[-1]
        return self.prefill_seconds(call.model, unread) + call.decoded_tokens * _at(
            call.prompt_tokens, speed.lengths, speed.decode
        )

    def prefill_seconds(self, model: str, tokens: int) -> float:
        """Seconds of ``model`` for the prefill of ``tokens`` prompt tokens that are not cached.

        Raises:
            MixrouteError: the card has no such model.
        """
        if tokens == 0:
            return 0.0
        speed = self._speed_of(model)
        longest = speed.lengths[-1]
        return _at(tokens, speed.lengths, speed.prefill) * max(1.0, tokens / longest)

    def _speed_of(self, model: str) -> _Speed:
        speed = self._speeds.get(model)
        if speed is None:
            raise MixrouteError(
                f"{self._source} has no model {quoted(model)}: it has {', '.join(self._speeds)}; "
                "calibrate the pool that the runs were played with"
            )
        return speed

    def note(self) -> str:
        """Source of the seconds, and the share of calls that lie beyond the measured lengths."""
        gpus = self._card.provenance["hardware"]["gpus"]
        machine = " + ".join(gpus) if gpus else self._card.provenance["hardware"]["cpu"]
        drawn = ", random weights" if any(model["random"] for model in self._card.models.values()) else ""
        computes = "".join(f", {name} {found}" for name, found in self._card.arithmetic().items())
        how = "interpolated between measured concurrencies" if self._between else "measured"
        text = (
            f"seconds are not the runs' own but of speed card {self._source} (pool {self._card.pool}{drawn}{computes}, "
            f"mode {self._card.mode}, {machine}), at concurrency {self._concurrency:g} ({how})"
        )
        if self._calls:
            text += (
                f"; of {self._calls:,} calls {self._shorter / self._calls:.1%} have a shorter prefill than the "
                "shortest prompt measured (charged as that), "
                f"{self._longer / self._calls:.1%} have longer prompts than the longest"
            )
        return text


def open_rates(path: Path | None, concurrency: float | None) -> Rates | None:
    """The rates of a card's file; None without one.

    Raises:
        MixrouteError: one of the two is given without the other, or the card does not reach the concurrency.
    """
    if path is None and concurrency is None:
        return None
    if path is None or concurrency is None:
        raise MixrouteError(
            "gpu-seconds take both --card FILE and --at CONCURRENCY: cost per token depends on the load"
        )
    return Rates(read_speed_card(path), concurrency, str(path))


def _speed(card: SpeedCard, model: str, concurrency: float, source: str) -> _Speed:
    cells = [cell for cell in card.cells if cell.model == model]
    measured = sorted({cell.concurrency for cell in cells})
    if not measured or not measured[0] <= concurrency <= measured[-1]:
        raise MixrouteError(
            f"{source} has model {quoted(model)} at concurrency {', '.join(map(str, measured)) or '(none)'}, not at "
            f"{concurrency:g}: state one within, or calibrate that one too"
        )
    place = bisect_left(measured, concurrency)
    above = measured[place]
    below = above if above == concurrency else measured[place - 1]
    lengths = sorted(
        {c.length for c in cells if card.cell(model, below, c.length) and card.cell(model, above, c.length)}
    )
    if not lengths:
        raise MixrouteError(
            f"{source}: model {quoted(model)} has no length at both {below} and {above}: calibrate it further"
        )
    weight = 0.0 if above == below else log(concurrency / below) / log(above / below)

    def between(length: int, phase: str) -> float:
        ends = [card.cell(model, one, length) for one in (below, above)]
        one, other = (cell.seconds(phase)[0] for cell in ends if cell is not None)
        if min(one, other) <= 0:
            raise MixrouteError(
                f"{source}: {phase} of model {quoted(model)} at {below} to {above} x {length} tokens drowned in noise: "
                "calibrate on a machine that does nothing else, or with a larger --decode"
            )
        return exp((1 - weight) * log(one) + weight * log(other))

    met = [card.cell(model, below, length) for length in lengths]
    tokens = [float(cell.samples[0].prompt_tokens) for cell in met if cell is not None]
    prefill = [between(length, "prefill") * count for length, count in zip(lengths, tokens, strict=True)]
    return _Speed(tuple(tokens), tuple(prefill), tuple(between(length, "decode") for length in lengths))


def _at(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    """Linear between points, constant beyond them."""
    place = bisect_left(xs, x)
    if place == 0:
        return ys[0]
    if place == len(xs):
        return ys[-1]
    part = (x - xs[place - 1]) / (xs[place] - xs[place - 1])
    return ys[place - 1] + part * (ys[place] - ys[place - 1])
