"""Builds a catalogue's database in batches, which bound the memory and let a stopped build resume."""

from __future__ import annotations

import hashlib
import sqlite3
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from tasks.webshop.analysis import terms
from tasks.webshop.bm25 import quantised
from tasks.webshop.goal import combinations, shuffled
from tasks.webshop.product import Product
from tasks.webshop.store import SCHEMA, VERSION, encode, pack

BATCH = 20_000
"""Products between two commits; 2 million postings, some 100 MB."""

_MOST = 2**16 - 1
"""A term frequency above this is stored as this."""

_SCRATCH = """
CREATE TABLE scratch.segments (term TEXT, batch INTEGER, documents BLOB, counts BLOB);
CREATE TABLE scratch.notes (asin TEXT PRIMARY KEY, record BLOB) WITHOUT ROWID;
CREATE TABLE scratch.humans (asin TEXT PRIMARY KEY, record BLOB) WITHOUT ROWID;
"""


class StoreBuilder:
    """Fills a database.

    Args:
        connection: Connection to a new database, or to one that an earlier builder left unfinished.
        scratch: File for what is needed while building; ``:memory:`` where nothing is to outlive the process.

    Raises:
        sqlite3.DatabaseError: the database cannot be read or written, or does not belong to ``scratch``.
    """

    def __init__(self, connection: sqlite3.Connection, scratch: str = ":memory:") -> None:
        self._db = connection
        connection.execute("ATTACH ? AS scratch", (scratch,))
        if not connection.execute("SELECT 1 FROM main.sqlite_master").fetchone():
            connection.executescript(f"BEGIN; {SCHEMA} {_SCRATCH} COMMIT;")  # both files have their tables, or neither
        elif not self.finished and not connection.execute("SELECT 1 FROM scratch.sqlite_master").fetchone():
            raise sqlite3.DatabaseError("the file for what is needed while building holds nothing")
        (self._next,) = connection.execute("SELECT count(*) FROM products").fetchone()
        self._digest = self.get("digest") or hashlib.sha256(f"webshop {VERSION}".encode()).hexdigest()
        self._documents: defaultdict[str, array[int]] = defaultdict(lambda: array("i"))
        self._counts: defaultdict[str, array[int]] = defaultdict(lambda: array("H"))
        self._pending = 0

    def get(self, key: str) -> str | None:
        """A stored note about the progress of the build."""
        found = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if found is None else str(found[0])

    def set(self, key: str, value: object) -> None:
        """Store a note; it is durable after the next commit."""
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, str(value)))

    @property
    def finished(self) -> bool:
        """Whether an earlier builder finished the database."""
        return self.get("products") is not None

    def use_cache(self, table: str, records: Iterable[tuple[str, Any]]) -> None:
        """Keep records by ASIN until the products come: ``notes`` of attributes, or ``humans`` for instructions."""
        rows = ((asin, encode(record)) for asin, record in records)
        self._db.executemany(f"INSERT OR REPLACE INTO scratch.{table} VALUES (?, ?)", rows)  # noqa: S608 - two names

    def recall(self, table: str, asin: str) -> Any:  # noqa: ANN401 - JSON
        """The stored record of a product; None if there is none."""
        query = f"SELECT record FROM scratch.{table} WHERE asin = ?"  # noqa: S608 - two names
        found = self._db.execute(query, (asin,)).fetchone()
        return None if found is None else msgspec.msgpack.decode(found[0])

    def add(self, product: Product, humans: Sequence[Mapping[str, Any]] = ()) -> None:
        """Add a product; one whose ASIN is known is left out.

        Args:
            product: What to add.
            humans: The instructions for it that make goals.
        """
        found = terms(product.document)
        record = encode(product)
        row = (self._next, product.asin, pack(record), len(found), combinations(product), len(humans))
        if not self._db.execute("INSERT OR IGNORE INTO products VALUES (?, ?, ?, ?, ?, ?)", row).rowcount:
            return
        packed = [encode(human) for human in humans]
        self._db.executemany(
            "INSERT INTO humans VALUES (?, ?, ?)", ((self._next, i, one) for i, one in enumerate(packed))
        )
        for part in (record, *packed):
            self._digest = hashlib.sha256(self._digest.encode() + part).hexdigest()
        for term, count in Counter(found).items():
            self._documents[term].append(self._next)
            self._counts[term].append(min(count, _MOST))
        self._next += 1
        self._pending += 1

    @property
    def full(self) -> bool:
        """Whether it is time for a commit."""
        return self._pending >= BATCH

    def commit(self) -> None:
        """Commit the added products and the notes."""
        rows = (
            (term, self._next, numbers.tobytes(), self._counts[term].tobytes())
            for term, numbers in sorted(self._documents.items())
        )
        self._db.executemany("INSERT INTO scratch.segments VALUES (?, ?, ?, ?)", rows)
        self.set("digest", self._digest)
        self._db.commit()
        self._documents.clear()
        self._counts.clear()
        self._pending = 0

    def finish(self) -> None:
        """Join the batches into one index, put the goals in order, and drop what is no longer needed."""
        self.commit()
        self._db.execute("CREATE INDEX IF NOT EXISTS scratch.by_term ON segments (term, batch)")
        self._db.executemany("INSERT INTO postings VALUES (?, ?, ?)", self._joined())
        rows = self._db.execute("SELECT asin, length, synthetic, human FROM products ORDER BY number")
        table = np.fromiter(rows, np.dtype([("asin", "S10"), ("length", "i8"), ("synthetic", "i8"), ("human", "i8")]))
        ranks = np.empty(len(table), np.int32)
        ranks[np.argsort(table["asin"], kind="stable")] = np.arange(len(table), dtype=np.int32)
        self._array("asins", table["asin"])
        self._array("ranks", ranks)
        lengths, places = np.unique(table["length"], return_inverse=True)
        self._array("lengths", np.array([quantised(int(one)) for one in lengths], np.int32)[places])
        for kind in ("synthetic", "human"):
            ends = np.cumsum(table[kind])
            self._array(f"{kind}_ends", ends)
            self._array(f"{kind}_order", np.array(shuffled(int(ends[-1]) if len(ends) else 0), np.int64))
        self.set("products", self._next)
        self.set("terms", int(table["length"].sum()))
        self._db.commit()
        self._db.execute("DETACH scratch")

    def _joined(self) -> Iterator[tuple[str, bytes, bytes]]:
        rows = self._db.execute("SELECT term, documents, counts FROM scratch.segments ORDER BY term, batch")
        term, documents, counts = None, [], []
        for name, numbers, frequencies in rows:
            if term is not None and name != term:
                yield term, b"".join(documents), b"".join(counts)
                documents, counts = [], []
            term = name
            documents.append(numbers)
            counts.append(frequencies)
        if term is not None:
            yield term, b"".join(documents), b"".join(counts)

    def _array(self, name: str, values: np.ndarray[Any, Any]) -> None:
        self._db.execute("INSERT INTO arrays VALUES (?, ?)", (name, np.ascontiguousarray(values).tobytes()))
