"""A product as the shop knows it, made from a record of ``items_shuffle.json`` and one of ``items_ins_v2.json``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DEFAULT_PRICE = 100.0
"""Dollars; what a product without a price costs."""

NO_ATTRIBUTES = ("DUMMY_ATTR",)
"""Attribute that the original assigns to a product without known attributes. It counts in the reward."""


@dataclass(frozen=True, slots=True)
class Product:
    """One product. Prices are in dollars; two of them are the ends of a range."""

    asin: str
    name: str
    description: str = ""
    bullets: tuple[str, ...] = ()
    category: str = ""
    """The shop's department, such as ``garden``."""
    query: str = ""
    """The search that found the product when the data was gathered, lower-case: its type."""
    product_category: str = ""
    """The path to it, parts joined by U+203A."""
    attributes: tuple[str, ...] = NO_ATTRIBUTES
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Values to choose from by lower-case name, in the data's order."""
    prices: tuple[float, ...] = ()
    instruction: str = ""
    """The sentence that synthetic goals begin with; empty where the product has no such goals."""
    instruction_attributes: tuple[str, ...] = ()

    @property
    def price_tag(self) -> str:
        """The price as pages show it."""
        return " to ".join(f"${price}" for price in self.prices[:2] or (DEFAULT_PRICE,))

    @property
    def document(self) -> str:
        """The text that the search sees."""
        options = ", and ".join(f"{name}: {', '.join(values)}" for name, values in self.options.items())
        bullet = self.bullets[0] if self.bullets else ""
        return f"{self.name} {self.description} {bullet} {options}".lower()


class RecordError(ValueError):
    """A record is not what it should be; says which key and what is wrong with it."""


def from_records(record: Mapping[str, Any], notes: Mapping[str, Any]) -> Product:
    """The product of two records.

    Args:
        record: Record of ``items_shuffle.json``.
        notes: Record of ``items_ins_v2.json``; empty if that file does not have the product.

    Raises:
        RecordError: a key is missing or its value is of the wrong kind.
    """
    bullets = _get(record, "small_description", list | str)
    instruction = _get(notes, "instruction", str | None, None) or ""
    return Product(
        asin=_get(record, "asin", str),
        name=_get(record, "name", str),
        description=_get(record, "full_description", str),
        bullets=(bullets,) if isinstance(bullets, str) else _texts(bullets, "small_description"),
        category=_get(record, "category", str),
        query=_get(record, "query", str).lower().strip(),
        product_category=_get(record, "product_category", str),
        attributes=_texts(_get(notes, "attributes", list, NO_ATTRIBUTES), "attributes"),
        options=_options(record),
        prices=_prices(_get(record, "pricing", str | None, None) or ""),
        instruction=instruction,
        instruction_attributes=_texts(
            _get(notes, "instruction_attributes", list | None, None) or (), "instruction_attributes"
        ),
    )


_MISSING = object()


def _get(record: Mapping[str, Any], key: str, kind: Any, default: Any = _MISSING) -> Any:  # noqa: ANN401 - JSON
    value = record.get(key, default)
    if value is _MISSING:
        raise RecordError(f"'{key}' is missing")
    if value is not default and not isinstance(value, kind):
        raise RecordError(f"'{key}' is {str(value)[:40]!r}, of the wrong kind")
    return value


def _texts(values: Any, key: str) -> tuple[str, ...]:  # noqa: ANN401 - JSON
    if not all(isinstance(value, str) for value in values):
        raise RecordError(f"'{key}' holds something other than text")
    return tuple(values)


def _prices(text: str) -> tuple[float, ...]:
    """``$16.99$26.99`` -> 16.99 and 26.99; more than two are cut."""
    try:
        prices = tuple(float(re.sub(r"[^\d.]", "", part)) for part in text.split("$")[1:])
    except ValueError:
        prices = ()
    if text and not prices:
        raise RecordError(f"'pricing' is {text[:40]!r}, not dollars")
    return prices[:2]


def _options(record: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    found = _get(record, "customization_options", dict | str | None, None) or {}
    if isinstance(found, str):
        raise RecordError(f"'customization_options' is {found[:40]!r}, of the wrong kind")
    options = {}
    for name, choices in found.items():
        if choices is None:
            continue
        if not isinstance(choices, list) or not all(isinstance(c, dict) for c in choices):
            raise RecordError(f"'customization_options' has no list of choices for '{name}'")
        values = (_get(choice, "value", str) for choice in choices)
        options[name.lower()] = tuple(value.strip().replace("/", " | ").lower() for value in values)
    return options
