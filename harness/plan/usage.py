"""What episodes take: steps, tokens by model, seconds, dollars."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
from pydantic import Field

from harness.config import Strict, load_yaml
from harness.speed.rates import Rates
from harness.traces.cost import episode_cost
from harness.traces.read import model_cards, tokens_by_model
from harness.traces.store import read_episodes, read_meta, read_timings


class Price(Strict):
    """Dollars for a million tokens of one model."""

    input: float = Field(ge=0)
    """Of prompts, read anew."""
    cached: float = Field(ge=0)
    """Of prompts, read before."""
    output: float = Field(ge=0)


class Prices(Strict):
    """A price table, as YAML. Tokens and hours are added up."""

    models: dict[str, Price] = Field(default_factory=dict)
    hour: float = Field(default=0.0, ge=0)
    """Dollars for an hour of the device."""


class Usage(msgspec.Struct, frozen=True):
    """Of so many episodes together."""

    episodes: float = 0
    steps: float = 0
    tokens: dict[str, tuple[float, float, float]] = {}
    """By model: of prompts read anew, of prompts read before, written."""
    seconds: float | None = 0.0
    """Of the device; None where they are not known."""

    def __add__(self, other: Usage) -> Usage:
        tokens = {
            name: tuple(sum(pair) for pair in zip(self.of(name), other.of(name), strict=True))
            for name in {**self.tokens, **other.tokens}
        }
        seconds = None if self.seconds is None or other.seconds is None else self.seconds + other.seconds
        return Usage(self.episodes + other.episodes, self.steps + other.steps, tokens, seconds)  # type: ignore[arg-type]

    def times(self, factor: float) -> Usage:
        """Of ``factor`` times as many episodes."""
        tokens = {name: (a * factor, b * factor, c * factor) for name, (a, b, c) in self.tokens.items()}
        seconds = None if self.seconds is None else self.seconds * factor
        return Usage(self.episodes * factor, self.steps * factor, tokens, seconds)

    def of(self, model: str) -> tuple[float, float, float]:
        """Tokens of one model."""
        return self.tokens.get(model, (0.0, 0.0, 0.0))

    def dollars(self, prices: Prices) -> float | None:
        """By the table; None where it is empty, or a model or the seconds have no figure that it needs."""
        if not prices.models and not prices.hour:
            return None
        if prices.models.keys() < self.tokens.keys() and prices.models:
            return None
        if prices.hour and self.seconds is None:
            return None
        by_token = sum(
            read * price.input + cached * price.cached + written * price.output
            for name, price in prices.models.items()
            for read, cached, written in [self.of(name)]
        )
        return by_token / 1e6 + prices.hour * (self.seconds or 0.0) / 3600


def load_prices(path: Path) -> Prices:
    """A price table.

    Raises:
        MixrouteError: it cannot be read, or has a wrong key or value.
    """
    return load_yaml(path, Prices)


def usage_of(folder: Path, rates: Rates | None = None) -> Usage:
    """What the finished episodes of a run took; seconds were measured, or are what ``rates`` say.

    Raises:
        MixrouteError: the folder cannot be read.
    """
    cards = model_cards(folder, read_meta(folder))
    timings = {timing.instance: timing for timing in read_timings(folder)}
    total = Usage()
    for episode in read_episodes(folder):
        timing = timings.get(episode.instance)
        known = timing is not None or rates is not None
        total += Usage(
            episodes=1,
            steps=len(episode.steps),
            tokens=_floats(tokens_by_model([episode])),
            seconds=episode_cost(episode, cards, timing, rates).seconds if known else None,
        )
    return total


def _floats(tokens: Mapping[str, tuple[int, int, int]]) -> dict[str, tuple[float, float, float]]:
    return {name: (float(read), float(cached), float(written)) for name, (read, cached, written) in tokens.items()}
