"""The reward of a purchase, with every sub-score.

``reward = r_type * (matched attributes + matched options + price kept) / (attributes + options + 1)``.
Source: Yao et al., "WebShop", 2022, and what the original code makes of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from rapidfuzz.fuzz import token_set_ratio
from rapidfuzz.utils import default_process

from mixroute import MixrouteError
from tasks.webshop.colours import reduced
from tasks.webshop.goal import Goal, as_goal
from tasks.webshop.nouns import nouns
from tasks.webshop.product import Product

_ALIKE = 85
"""Texts match above this ``token_set_ratio``."""

_LATIN_1 = dict.fromkeys(range(0x80, 0x100))


@dataclass(frozen=True, slots=True)
class Score(Mapping[str, float | bool]):
    """A reward and its components, under the original's names; a mapping without the entries that are None."""

    reward: float
    """0 to 1."""
    r_type: float
    """Whether it is the kind of product asked for: 1, 0.5, 0.1 or 0."""
    r_att: float
    """Share of the goal's attributes that the product has."""
    w_att: float
    query_match: bool
    category_match: bool
    title_score: float
    """Share of the nouns in the goal's product name that the bought one's has."""
    r_price: bool
    w_price: float
    r_option: float | None = None
    """Share of the goal's options that were chosen; None where the goal has none."""
    w_option: float | None = None

    def __getitem__(self, key: str) -> float | bool:
        value: float | bool | None = getattr(self, key) if key in _SCORES else None
        if value is None:
            raise KeyError(key)
        return value

    def __iter__(self) -> Iterator[str]:
        return (key for key in _SCORES if getattr(self, key) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


_SCORES = tuple(field.name for field in fields(Score))


def reward(
    goal: Goal | Mapping[str, Any],
    product: Product | Mapping[str, Any],
    options: Mapping[str, str],
    price: float,
    *,
    goal_nouns: Sequence[str] | None = None,
    product_nouns: Sequence[str] | None = None,
    strict_options: bool = False,
) -> Score:
    """Score a purchase.

    Args:
        goal: What was asked for; a mapping has the keys of ``Goal``.
        product: What was bought; a mapping has the original's keys ``name``, ``query``, ``product_category``,
            ``Attributes``, ``Title``, ``BulletPoints`` and ``Description``.
        options: The choices made, value by name.
        price: What it cost, in dollars.
        goal_nouns: Lower-case nouns of the goal's product name, repeats included. Default: the own rule's, ``nouns``.
        product_nouns: Those of the bought product's name.
        strict_options: Compare the options of synthetic goals by their values. The original compares them as pairs of
            name and value, by which 458 of the 6,910 small goals are out of reach.

    Raises:
        MixrouteError: the goal has no attributes or no price bound above 0, or a key is missing.
    """
    goal, product = as_goal(goal), _as_product(product)
    if not goal.attributes:
        raise MixrouteError(f"the goal for {goal.asin} has no attributes: nothing can be scored by it")
    if goal.price_upper <= 0:
        raise MixrouteError(f"the goal for {goal.asin} has price_upper = {goal.price_upper}: it must be above 0")
    query_match = product.query == goal.query
    category_match = len(_parts(product.product_category) & _parts(goal.product_category)) >= 2
    title_score = _title_score(
        nouns(goal.name) if goal_nouns is None else goal_nouns,
        nouns(product.name) if product_nouns is None else product_nouns,
    )
    r_type = _type_score(query_match or category_match, title_score)
    attributes = _matched_attributes(goal.attributes, product)
    chosen = _matched_options(_wanted(goal, strict_options), options)
    wanted, kept = len(goal.goal_options), price <= goal.price_upper
    parts = len(goal.attributes) + wanted + 1
    return Score(
        reward=(attributes + chosen + kept) / parts * r_type,
        r_type=r_type,
        r_att=attributes / len(goal.attributes),
        w_att=len(goal.attributes) / parts,
        query_match=query_match,
        category_match=category_match,
        title_score=title_score,
        r_price=kept,
        w_price=1 / parts,
        r_option=chosen / wanted if wanted else None,
        w_option=wanted / parts if wanted else None,
    )


def _as_product(product: Product | Mapping[str, Any]) -> Product:
    if isinstance(product, Product):
        return product
    try:
        return Product(
            asin=product.get("asin", ""),
            name=product["name"],
            description=product["Description"],
            bullets=tuple(product["BulletPoints"]),
            query=product["query"],
            product_category=product["product_category"],
            attributes=tuple(product["Attributes"]),
        )
    except KeyError as error:
        raise MixrouteError(f"the product lacks the key {error}: give a Product, or the original's mapping") from error


def _parts(category: str) -> set[str]:
    return {part.strip() for part in category.split("\u203a")}


def _title_score(wanted: Sequence[str], found: Sequence[str]) -> float:
    # The original counts each noun once above the line and as often as it stands below it.
    return len(set(wanted) & set(found)) / len(wanted) if wanted else 0.2


def _type_score(alike: bool, title_score: float) -> float:
    if title_score == 0:
        return 0.0
    if title_score < 0.1:
        return 0.1
    return 1.0 if alike or title_score > 0.2 else 0.5


def _matched_attributes(wanted: Sequence[str], product: Product) -> int:
    texts = (product.name.lower(), " ".join(product.bullets).lower(), product.description.lower())
    return sum(
        any(_alike(own, attribute) for own in product.attributes) or any(attribute in text for text in texts)
        for attribute in wanted
    )


def _wanted(goal: Goal, strict: bool) -> list[str | tuple[str, str]]:
    options = goal.goal_options
    if not isinstance(options, Mapping):
        return list(options)
    return list(options.values()) if strict else list(options.items())


def _matched_options(wanted: Sequence[str | tuple[str, str]], options: Mapping[str, str]) -> int:
    chosen = [reduced(value) for value in options.values()]
    return sum(any(_alike(own, asked) for own in chosen) for asked in map(reduced, wanted))


def _alike(left: object, right: object) -> bool:
    # thefuzz rounds to whole numbers before it compares: 85.5 becomes 86.
    return round(token_set_ratio(_plain(left), _plain(right))) > _ALIKE


def _plain(value: object) -> str:
    """Normalize a value like thefuzz: to text without the letters of Latin-1, with punctuation as spaces."""
    return default_process(str(value).translate(_LATIN_1))
