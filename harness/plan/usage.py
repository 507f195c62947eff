"""Usage of episodes: steps, tokens by model, costs, dollars."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from pydantic import Field

from harness.config import Strict, load_yaml
from harness.speed.rates import Rates
from harness.traces.clock import read_clocked
from harness.traces.cost import SECONDS, add_costs, scale_costs
from harness.traces.read import check_shape, episode_numbers, model_cards
from harness.traces.store import read_meta

Total = Annotated[float, msgspec.Meta(ge=-1e30, le=1e30)]
"""A sum over episodes; what is added up stays a finite number."""


class Price(Strict):
    """Dollars for a million tokens of one model."""

    input: float = Field(ge=0)
    """Prompt tokens computed."""
    cached: float = Field(ge=0)
    """Prompt tokens that the model has in its cache."""
    output: float = Field(ge=0)
    """Decoded tokens."""


class Prices(Strict):
    """A price table, as YAML; the prices of tokens and hours are summed."""

    models: dict[str, Price] = Field(default_factory=dict)
    hour: float = Field(default=0.0, ge=0)
    """Dollars for an hour of the device."""


class Usage(msgspec.Struct, frozen=True):
    """Totals over ``episodes`` episodes."""

    episodes: Total = 0
    steps: Total = 0
    tokens: dict[str, tuple[Total, Total, Total]] = {}
    """Per model: prompt tokens computed, prompt tokens cached, and decoded tokens."""
    cost: dict[str, Total | None] = {}
    """Amounts by cost model; None where it is not known, left out where nothing was charged."""
    untold: bool = False
    """Whether an endpoint left out how many tokens some calls took, so that ``tokens`` are too few."""

    def __add__(self, other: Usage) -> Usage:
        tokens = {
            name: tuple(sum(pair) for pair in zip(self.of(name), other.of(name), strict=True))
            for name in {**self.tokens, **other.tokens}
        }
        cost = add_costs(self.cost, other.cost)
        sums = self.episodes + other.episodes, self.steps + other.steps
        return Usage(*sums, tokens, cost, self.untold or other.untold)  # type: ignore[arg-type]

    def times(self, factor: float) -> Usage:
        """Totals over ``factor`` times as many episodes."""
        tokens = {name: (a * factor, b * factor, c * factor) for name, (a, b, c) in self.tokens.items()}
        cost = scale_costs(self.cost, factor)
        return Usage(self.episodes * factor, self.steps * factor, tokens, cost, self.untold)

    def of(self, model: str) -> tuple[float, float, float]:
        """Tokens of one model."""
        return self.tokens.get(model, (0.0, 0.0, 0.0))

    def dollars(self, prices: Prices) -> float | None:
        """Price by the table; None where it is empty, or a model, tokens or seconds that it needs are not known."""
        if (not prices.models and not prices.hour) or (prices.models and self.untold):
            return None
        if prices.models.keys() < self.tokens.keys() and prices.models:
            return None
        seconds = self.cost.get(SECONDS, 0.0)
        if prices.hour and seconds is None:
            return None
        by_token = sum(
            computed * price.input + cached * price.cached + decoded * price.output
            for name, price in prices.models.items()
            for computed, cached, decoded in [self.of(name)]
        )
        return by_token / 1e6 + prices.hour * (seconds or 0.0) / 3600


def load_prices(path: Path) -> Prices:
    """A price table.

    Raises:
        MixrouteError: the file cannot be read, or has a wrong key or value.
    """
    return load_yaml(path, Prices)


def usage_of(folder: Path, rates: Rates | None = None) -> Usage:
    """Totals over the finished episodes of a run; seconds of an episode are those that ``mixroute time`` measured, else
    those at which it was played; or those of ``rates``.

    Raises:
        MixrouteError: the folder cannot be read.
    """
    cards = model_cards(folder, read_meta(folder))
    total = Usage()
    for episode, timing, clocked in read_clocked(folder):
        check_shape(folder, episode, timing)
        numbers = episode_numbers(folder, episode, cards, clocked or timing, rates)
        total += Usage(
            episodes=1,
            steps=numbers.steps,
            tokens=_floats(numbers.tokens),
            cost=dict(numbers.cost),
            untold=bool(numbers.untold),
        )
    return total


def _floats(tokens: Mapping[str, tuple[int, int, int]]) -> dict[str, tuple[float, float, float]]:
    return {name: (float(new), float(cached), float(decoded)) for name, (new, cached, decoded) in tokens.items()}
