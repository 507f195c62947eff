"""The released data files as a source of products."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mixroute import MixrouteError
from tasks.webshop import stream
from tasks.webshop.builder import StoreBuilder
from tasks.webshop.files import DataFiles
from tasks.webshop.ingest import Report
from tasks.webshop.product import RecordError, from_records

_LONGEST_ASIN = 10
"""The original leaves out products whose identifier is longer."""


class Released:
    """The products of three files, each read once from front to back.

    Args:
        files: Where they are.
    """

    def __init__(self, files: DataFiles) -> None:
        self._files = files
        self.key = files.key
        self.large = files.large

    def fill(self, builder: StoreBuilder, report: Report) -> None:
        """Add all products; a stopped call is resumed.

        Raises:
            MixrouteError: a file is cut off or damaged, or holds no products.
        """
        self._prepare(builder, report)
        done = int(builder.get("read") or 0)
        number = 0
        products = stream.elements(self._files.products, _bar(report, "products", self._files.products))
        for number, record in enumerate(products, 1):
            if number <= done:
                continue
            self._add(builder, record, number)
            if builder.full:
                builder.set("read", number)
                builder.commit()
        if not number:
            raise MixrouteError(f"{self._files.products} holds no products: {stream.FIX}")
        builder.set("read", number)

    def _prepare(self, builder: StoreBuilder, report: Report) -> None:
        """Store the records of the smaller files by product."""
        if builder.get("prepared"):
            return
        attributes, humans = self._files.attributes, self._files.humans
        builder.use_cache("notes", stream.members(attributes, _bar(report, "attributes", attributes)))
        if humans is not None:
            builder.use_cache("humans", stream.members(humans, _bar(report, "instructions", humans)))
        builder.set("prepared", "yes")
        builder.commit()

    def _add(self, builder: StoreBuilder, record: dict[str, Any], number: int) -> None:
        files = self._files
        asin = record.get("asin")
        if not isinstance(asin, str):
            raise MixrouteError(f"{files.products}, element {number}: 'asin' is missing or no text: {stream.FIX}")
        if asin == "nan" or len(asin) > _LONGEST_ASIN:
            return
        notes = builder.recall("notes", asin)
        if notes is not None and not isinstance(notes, dict):
            raise MixrouteError(f"{files.attributes}: the value of '{asin}' is no object: {stream.FIX}")
        try:
            product = from_records(record, notes or {})
        except RecordError as error:
            where = f"{files.products} with {files.attributes.name}"
            raise MixrouteError(f"{where}: product {asin}: {error}: {stream.FIX}") from error
        builder.add(product, self._instructions(builder.recall("humans", asin), asin))

    def _instructions(self, found: Any, asin: str) -> list[dict[str, Any]]:  # noqa: ANN401 - JSON
        """The instructions that make goals: those that name attributes."""
        try:
            entries = [
                {
                    "instruction": str(one["instruction"]),
                    "instruction_attributes": list(map(str, one["instruction_attributes"])),
                    "instruction_options": list(map(str, one["instruction_options"])),
                }
                for one in found or []
            ]
        except (KeyError, TypeError) as error:
            where = f"{self._files.humans}: product {asin}"
            raise MixrouteError(f"{where}: an instruction is damaged ({error!r}): {stream.FIX}") from error
        return [entry for entry in entries if entry["instruction_attributes"]]


def _bar(report: Report, what: str, path: Path) -> Callable[[int], None]:
    return report(what, path.stat().st_size)
