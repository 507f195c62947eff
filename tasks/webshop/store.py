"""The catalogue's database: products, search index and goals in one SQLite file, or in memory for small sets.

The file is written once, under another name, and then only read: it is complete or absent.
"""

from __future__ import annotations

import sqlite3
import threading
import zlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from tasks.webshop.product import Product

VERSION = 1
"""Changes whenever a file of the version before could not be read, or would answer otherwise."""

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE arrays (name TEXT PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE products (
    number INTEGER PRIMARY KEY, asin TEXT NOT NULL UNIQUE, record BLOB NOT NULL, length INTEGER NOT NULL,
    synthetic INTEGER NOT NULL, human INTEGER NOT NULL
);
CREATE TABLE humans (product INTEGER NOT NULL, position INTEGER NOT NULL, record BLOB NOT NULL,
    PRIMARY KEY (product, position));
CREATE TABLE postings (term TEXT PRIMARY KEY, documents BLOB NOT NULL, counts BLOB NOT NULL);
"""
"""``number`` counts products from 0 in the data's order; ``length`` is in terms, exact; ``synthetic`` and ``human`` are
numbers of goals. Postings are int32 document numbers, ascending, and uint16 term frequencies."""

encode = msgspec.msgpack.Encoder().encode
"""A product or anything else of JSON's kind -> bytes."""

_decode_product = msgspec.msgpack.Decoder(Product).decode


def pack(record: bytes) -> bytes:
    """An encoded product, as it is stored."""
    return zlib.compress(record, 1)


def unpack(record: bytes) -> Product:
    """The product of a stored record."""
    return _decode_product(zlib.decompress(record))


class Store:
    """Reads a finished database; may be used from several threads.

    Args:
        connection: Opened with ``check_same_thread=False``.
        on_disk: Whether it is to a file.
    """

    def __init__(self, connection: sqlite3.Connection, on_disk: bool = False) -> None:
        self._connection = connection
        self.on_disk = on_disk
        self._lock = threading.Lock()
        self.meta: dict[str, str] = dict(connection.execute("SELECT key, value FROM meta"))

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open a finished file for reading."""
        uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        return cls(sqlite3.connect(uri, uri=True, check_same_thread=False), on_disk=True)

    def array(self, name: str, kind: npt.DTypeLike) -> npt.NDArray[Any]:
        """A stored array of one dimension."""
        (data,) = self._one("SELECT data FROM arrays WHERE name = ?", name)
        return np.frombuffer(data, kind)

    def number(self, asin: str) -> int | None:
        """The number of a product, None if there is none."""
        found = self._row("SELECT number FROM products WHERE asin = ?", asin)
        return None if found is None else found[0]

    def product(self, number: int) -> Product:
        """The product with this number."""
        (record,) = self._one("SELECT record FROM products WHERE number = ?", number)
        return unpack(record)

    def human(self, product: int, position: int) -> dict[str, Any]:
        """The instruction that a person wrote for a product."""
        (record,) = self._one("SELECT record FROM humans WHERE product = ? AND position = ?", product, position)
        found: dict[str, Any] = msgspec.msgpack.decode(record)
        return found

    def postings(self, term: str) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]] | None:
        """Numbers of the documents that have ``term`` and how often, both of shape (documents that have it,)."""
        found = self._row("SELECT documents, counts FROM postings WHERE term = ?", term)
        if found is None:
            return None
        return np.frombuffer(found[0], np.int32), np.frombuffer(found[1], np.uint16).astype(np.float32)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _row(self, query: str, *values: object) -> Any:  # noqa: ANN401 - SQLite
        with self._lock:
            return self._connection.execute(query, values).fetchone()

    def _one(self, query: str, *values: object) -> Any:  # noqa: ANN401 - SQLite
        found = self._row(query, *values)
        if found is None:
            raise LookupError(f"{query}: nothing for {values}")
        return found
