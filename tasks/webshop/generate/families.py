"""Families of near-duplicates: a generated product, and others that differ from it in one property each."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tasks.webshop.generate.taxonomy import Group, queries
from tasks.webshop.product import Product

VERSION = 1
"""Changes whenever the same split, seed and number would give another family."""

_LARGEST = 5
"""Products of a family."""

_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_PRAISE = (
    "Made for people who use it every day and want it to last.",
    "A careful design that keeps what matters and leaves out the rest.",
    "Ships in plain packaging within two working days.",
    "Tested by hand before it leaves the workshop.",
    "A thoughtful present for friends and family.",
)


@dataclass(frozen=True, slots=True)
class Draft:
    """Properties of a product from which its texts are written."""

    brand: str
    group: Group
    query: str
    traits: tuple[str, ...]
    asked: tuple[str, ...]
    """Traits that an instruction names; some of ``traits``."""
    options: tuple[tuple[str, tuple[str, ...]], ...]
    prices: tuple[float, ...]
    praise: str


def family(split: str, seed: int, number: int) -> Iterator[Product]:
    """The products of a family, the one it is named after first.

    Args:
        split: Part of the seed, so that no two splits share a product.
        seed: Seed of the catalogue.
        number: Number of the family, from 0.
    """
    name = f"webshop-gen {VERSION} {split} {seed} {number}"
    rng = random.Random(name)  # noqa: S311 - no secret
    first = _draft(rng)
    is_goal = rng.random() < 0.5
    for member in range(rng.randint(1, _LARGEST)):
        draft = first if member == 0 else _varied(first, rng)
        asin = "B0" + "".join(rng.choices(_DIGITS, k=8))
        # Half of the families are there to be mistaken for others: no goal asks for them.
        yield _product(asin, draft, _instruction(draft) if is_goal else "")


def _draft(rng: random.Random) -> Draft:
    group, query = rng.choice(queries())
    traits = tuple(rng.sample(sorted(group.traits), rng.randint(3, 6)))
    low, high = group.price
    price = round(rng.uniform(low, high), 2)
    prices = (price, round(price * rng.uniform(1.1, 1.6), 2)) if rng.random() < 0.2 else (price,)
    options = tuple((name, _offered(values, rng)) for name, values in group.options.items() if rng.random() < 0.7)
    asked = traits[: rng.randint(1, min(4, len(traits)))]
    return Draft(_brand(rng), group, query, traits, asked, options, prices, rng.choice(_PRAISE))


def _offered(values: Sequence[str], rng: random.Random) -> tuple[str, ...]:
    chosen = set(rng.sample(range(len(values)), rng.randint(2, min(5, len(values)))))
    return tuple(value for place, value in enumerate(values) if place in chosen)


def _brand(rng: random.Random) -> str:
    return "".join(rng.choice(_CONSONANTS) + rng.choice(_VOWELS) for _ in range(rng.randint(2, 4))).capitalize()


def _varied(draft: Draft, rng: random.Random) -> Draft:
    """The product with one attribute of the goal, one option or the price changed."""
    kind = rng.choice(("attribute", "option", "price") if draft.options else ("attribute", "price"))
    if kind == "attribute":
        place = rng.randrange(len(draft.asked))
        other = rng.choice(sorted(set(draft.group.traits) - set(draft.traits)))
        traits = (*draft.traits[:place], other, *draft.traits[place + 1 :])
        return replace(draft, traits=traits, asked=traits[: len(draft.asked)])
    if kind == "option":
        place = rng.randrange(len(draft.options))
        name, values = draft.options[place]
        others = sorted(set(draft.group.options[name]) - set(values)) or [f"{values[-1]} plus"]
        gone = rng.randrange(len(values))
        changed = (*values[:gone], rng.choice(others), *values[gone + 1 :])
        return replace(draft, options=(*draft.options[:place], (name, changed), *draft.options[place + 1 :]))
    factor = rng.choice((0.6, 1.7, 2.4))
    return replace(draft, prices=tuple(round(price * factor, 2) for price in draft.prices))


def _product(asin: str, draft: Draft, instruction: str) -> Product:
    shown, described = draft.traits[::2], draft.traits[1::2]
    kind = draft.query.title().replace("'S", "'s")
    return Product(
        asin=asin,
        name=f"{draft.brand} {kind}, {', '.join(trait.title() for trait in shown)}",
        description=f"{draft.brand} {draft.query} with {', '.join(described)}. {draft.praise}",
        bullets=(f"{kind} by {draft.brand} ", *(f"{trait.capitalize()} " for trait in draft.traits)),
        category=draft.group.category,
        query=draft.query,
        product_category=f"{draft.group.path} \u203a {kind}",
        attributes=draft.traits,
        options=dict(draft.options),
        prices=draft.prices,
        instruction=instruction,
        instruction_attributes=draft.asked if instruction else (),
    )


def _instruction(draft: Draft) -> str:
    """The instruction, in the order of the released ones: adjectives, type, with, for."""
    parts = {
        word: [trait for trait in draft.asked if draft.group.traits[trait] == word] for word in ("", "with", "for")
    }
    words = ["Find me", ", ".join(parts[""]), draft.query]
    words += [f"{word} {', '.join(parts[word])}" for word in ("with", "for") if parts[word]]
    return " ".join(word for word in words if word)
