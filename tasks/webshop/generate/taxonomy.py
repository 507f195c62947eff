"""Groups of product types with their traits, options and prices, read from ``taxonomy.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Group:
    """Product types that share their traits and options."""

    category: str
    """The department."""
    path: str
    """Its product category without the type itself."""
    price: tuple[float, float]
    """Dollars; lowest and highest."""
    options: Mapping[str, tuple[str, ...]]
    """Values that products may offer, by the option's name."""
    traits: Mapping[str, str]
    """Attribute -> the word by which a sentence joins it: ``with``, ``for``, or nothing where it stands in front."""
    queries: tuple[str, ...]
    """The types."""


@cache
def groups() -> tuple[Group, ...]:
    """The groups."""
    data = json.loads(Path(__file__).with_name("taxonomy.json").read_text(encoding="utf-8"))
    return tuple(
        Group(
            category=one["category"],
            path=one["path"],
            price=(one["price"][0], one["price"][1]),
            options={name: tuple(data["values"][pool]) for name, pool in one["options"].items()},
            traits=one["traits"],
            queries=tuple(one["queries"]),
        )
        for one in data["groups"]
    )


@cache
def queries() -> tuple[tuple[Group, str], ...]:
    """The product types, each with its group."""
    return tuple((group, query) for group in groups() for query in group.queries)
