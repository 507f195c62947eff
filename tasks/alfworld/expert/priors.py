"""Locations of objects as counted in training games (``count.py``), for the expert; stored beside this module."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

STORED = Path(__file__).with_name("priors.json")


@dataclass(frozen=True, slots=True)
class Priors:
    """Per kind of object and kind of receptacle, how many such objects a receptacle held on average, over the training
    games in which such an object occurs.
    """

    rates: Mapping[str, Mapping[str, float]]

    def rate(self, thing: str, place: str) -> float:
        """Mean number of objects of kind ``thing`` in a receptacle of kind ``place``; 0.0 where never seen."""
        return self.rates.get(thing, {}).get(place, 0.0)


@cache
def stored() -> Priors:
    """The counts that are shipped: over the 3,553 official and the first 600 generated training games."""
    return Priors(json.loads(STORED.read_text(encoding="utf-8")))
