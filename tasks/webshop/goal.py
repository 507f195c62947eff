"""Goals of episodes: their attributes and options, price bounds and order."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.seeding import seed_for
from mixroute import MixrouteError
from tasks.webshop.product import DEFAULT_PRICE, Product

NO_BOUND = 1_000_000
"""Price bound in dollars of a goal that names none."""

_BOUNDS = tuple(10.0 * tens for tens in range(1, 100))


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal, under the names that the original gives its parts."""

    asin: str
    """The product that the goal was made from."""
    query: str
    name: str
    product_category: str
    attributes: tuple[str, ...]
    price_upper: float
    """Dollars; the purchase may cost as much."""
    goal_options: Mapping[str, str] | tuple[str, ...]
    """Name -> value in synthetic goals; values alone in human ones."""
    instruction_text: str = ""
    """The instruction that the agent reads."""
    category: str = ""


def as_goal(goal: Goal | Mapping[str, Any]) -> Goal:
    """A goal from a mapping with the keys of ``Goal``; other keys are left out.

    Raises:
        MixrouteError: a key is missing.
    """
    if isinstance(goal, Goal):
        return goal
    options = goal.get("goal_options", ())
    try:
        return Goal(
            asin=goal["asin"],
            query=goal["query"],
            name=goal["name"],
            product_category=goal["product_category"],
            attributes=tuple(goal["attributes"]),
            price_upper=goal["price_upper"],
            goal_options=dict(options) if isinstance(options, Mapping) else tuple(options),
            instruction_text=goal.get("instruction_text", ""),
            category=goal.get("category", ""),
        )
    except KeyError as error:
        raise MixrouteError(f"the goal lacks the key {error}: give a Goal, or a mapping with its fields") from error


def drawn_price(product: Product, seed: int) -> float:
    """The product's price in dollars; from a range it is drawn uniformly, by ``seed`` and the product alone."""
    if len(product.prices) < 2:
        return product.prices[0] if product.prices else DEFAULT_PRICE
    return _rng("price", seed, product.asin).uniform(*product.prices)


def drawn_bound(product: Product, seed: int, number: int = 0) -> tuple[float, str]:
    """The price bound in dollars, and its words in the instruction.

    The larger of two that are drawn from the four multiples of ten above the price.

    Args:
        product: What the goal is made from.
        seed: The one that ``drawn_price`` gets.
        number: Which of the product's human instructions; all synthetic goals of a product share a bound.
    """
    price = drawn_price(product, seed)
    choices = [bound for bound in _BOUNDS if bound > price][:4]
    if len(choices) < 2:
        return NO_BOUND, ""
    upper = max(_rng("bound", seed, product.asin, number).sample(choices, 2))
    return upper, f", and price lower than {upper:.2f} dollars"


def _rng(purpose: str, seed: int, *names: object) -> random.Random:
    return random.Random(seed_for("webshop", purpose, seed, *names))  # noqa: S311 - no secret


def combinations(product: Product) -> int:
    """Number of the product's synthetic goals: one for each way to choose a value of every option."""
    if not product.instruction or not product.instruction_attributes:
        return 0
    count = 1
    for values in product.options.values():
        count *= len(values)
    return count


def synthetic_goal(product: Product, number: int, seed: int) -> Goal:
    """The synthetic goal that asks for the ``number``-th choice of options."""
    names = sorted(product.options)
    choice = next(itertools.islice(itertools.product(*(product.options[name] for name in names)), number, None))
    options = dict(zip(names, choice, strict=True))
    wanted = ", and ".join(f"{name}: {value}" for name, value in options.items())
    upper, words = drawn_bound(product, seed)
    text = product.instruction + (f" with {wanted}" if wanted else "") + words
    return _goal(product, product.instruction_attributes, upper, options, text)


def human_goal(product: Product, instruction: Mapping[str, Any], number: int, seed: int) -> Goal:
    """The goal of a person's instruction for the product; ``number`` counts the product's instructions."""
    upper, words = drawn_bound(product, seed, number)
    return _goal(
        product,
        tuple(instruction["instruction_attributes"]),
        upper,
        tuple(instruction["instruction_options"]),
        instruction["instruction"].strip(".") + words,
    )


def _goal(
    product: Product, attributes: tuple[str, ...], upper: float, options: dict[str, str] | tuple[str, ...], text: str
) -> Goal:
    return Goal(
        asin=product.asin,
        query=product.query,
        name=product.name,
        product_category=product.product_category,
        attributes=attributes,
        price_upper=upper,
        goal_options=options,
        instruction_text=text,
        category=product.category,
    )


SHUFFLE_SEED = 233


def shuffled(count: int) -> list[int]:
    """Order of the goals: the number, in the data's order, of the goal at each index."""
    order = list(range(count))
    random.Random(SHUFFLE_SEED).shuffle(order)  # noqa: S311 - the original's
    return order
