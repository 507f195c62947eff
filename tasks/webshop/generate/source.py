"""A generated catalogue as a source of products, and its export to files of the released schema."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mixroute import MixrouteError, is_fresh_split
from tasks.webshop.builder import StoreBuilder
from tasks.webshop.generate.families import VERSION, family
from tasks.webshop.ingest import Report
from tasks.webshop.product import Product

PRODUCTS = 5_000
"""Default number of products in a catalogue."""

MOST_PRODUCTS = 2_000_000

GOALS = {"dev": 200, "test": 200}
"""Goals of the fixed splits."""

_IN_MEMORY = 20_000
"""Most products that are generated at each start, which takes seconds."""


def goals_of(split: str) -> int | None:
    """How many goals a fixed or fresh split has at most; None for others."""
    return GOALS.get("test" if is_fresh_split(split) else split)


class Generated:
    """The products of a split, all different from those of any other.

    Args:
        split: ``train``, ``dev``, ``test`` or a fresh one.
        products: How many.
        seed: Number of the catalogue; ``train`` only, the others have one.

    Raises:
        MixrouteError: unknown split, or numbers that it does not have.
    """

    def __init__(self, split: str, products: int = PRODUCTS, seed: int = 0) -> None:
        if split != "train" and goals_of(split) is None:
            raise MixrouteError(f"webshop-gen has no split '{split}': use train, {' or '.join(GOALS)}")
        if not 1 <= products <= MOST_PRODUCTS:
            raise MixrouteError(f"webshop-gen: products = {products}: use 1 to {MOST_PRODUCTS}")
        if seed < 0 or (seed and split != "train"):
            raise MixrouteError(
                f"webshop-gen {split}: seed = {seed}: only train has more than one catalogue, from 0 on"
            )
        self._split, self._products, self._seed = split, products, seed
        self.key = f"gen{VERSION}-{split}-{seed}-{products}"
        self.large = products > _IN_MEMORY

    def __iter__(self) -> Iterator[Product]:
        families = (family(self._split, self._seed, number) for number in itertools.count())
        return itertools.islice(itertools.chain.from_iterable(families), self._products)

    def fill(self, builder: StoreBuilder, report: Report) -> None:
        """Add all products; a stopped call is resumed."""
        done, show = int(builder.get("read") or 0), report("products", self._products)
        for number, product in enumerate(self, 1):
            if number <= done:
                continue
            builder.add(product)
            if builder.full:
                builder.set("read", number)
                builder.commit()
                show(number)
        builder.set("read", self._products)


def write_files(source: Generated, folder: Path) -> Path:
    """Write the products as files that ``load_catalogue``, and the original, read.

    Args:
        source: The products.
        folder: Where ``items_shuffle.json``, ``items_ins_v2.json`` and an empty ``items_human_ins.json`` are to lie.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "items_shuffle.json").open("w", encoding="utf-8") as stream:
        stream.write("[")
        for number, product in enumerate(source):
            stream.write(("," if number else "") + "\n" + json.dumps(_record(product)))
        stream.write("\n]\n")
    with (folder / "items_ins_v2.json").open("w", encoding="utf-8") as stream:
        stream.write("{")
        for number, product in enumerate(source):
            stream.write(("," if number else "") + f"\n{json.dumps(product.asin)}: {json.dumps(_notes(product))}")
        stream.write("\n}\n")
    (folder / "items_human_ins.json").write_text("{}\n", encoding="utf-8")
    return folder


def _record(product: Product) -> dict[str, Any]:
    return {
        "asin": product.asin,
        "name": product.name,
        "full_description": product.description,
        "small_description": list(product.bullets),
        "category": product.category,
        "query": product.query,
        "product_category": product.product_category,
        "pricing": "".join(f"${price}" for price in product.prices),
        "customization_options": {
            name: [{"value": value} for value in values] for name, values in product.options.items()
        },
        "images": [""],
    }


def _notes(product: Product) -> dict[str, Any]:
    notes: dict[str, Any] = {"attributes": list(product.attributes)}
    if product.instruction:
        notes |= {"instruction": product.instruction, "instruction_attributes": list(product.instruction_attributes)}
    return notes
