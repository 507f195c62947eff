"""Tables of completions: lines that are read by number, and numbers that are found by line.

Both stay small in memory however many completions a trace has: long tables lie in temporary files.
"""

from __future__ import annotations

import hashlib
import sqlite3
from array import array
from collections.abc import Iterable
from contextlib import closing
from tempfile import SpooledTemporaryFile

IN_MEMORY = 1 << 25
"""Bytes of a table that are kept in memory."""


class CompletionTable:
    """The lines of one table; each is the fields of a call's record, without the braces around them.

    Args:
        lines: The lines of the file ``completions.jsonl``.
    """

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._content = SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - it is closed with this object
        self._starts = array("Q", [0])
        digest = hashlib.sha256()
        for line in lines:
            self._content.write(line)
            self._starts.append(self._starts[-1] + len(line))
            digest.update(line)
        self.sha256 = digest.hexdigest()
        """SHA-256 (hex) of the file, decompressed."""

    @property
    def size(self) -> int:
        """Bytes of all lines."""
        return self._starts[-1]

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, number: int) -> bytes:
        if not 0 <= number < len(self):
            raise IndexError(number)
        self._content.seek(self._starts[number])
        line = self._content.read(self._starts[number + 1] - self._starts[number])
        return line.removesuffix(b"\n")[1:-1]


class CompletionIndex:
    """Where a completion is found: the number of its table, and its line there."""

    def __init__(self) -> None:
        # A database without a name is a temporary file that SQLite deletes: millions of completions fit.
        self._places = sqlite3.connect("")
        self._places.execute("PRAGMA cache_size = -65536")  # KiB
        self._places.execute("CREATE TABLE places (line BLOB PRIMARY KEY, tab INTEGER, number INTEGER) WITHOUT ROWID")

    def add(self, line: bytes, table: int, number: int) -> None:
        """Note where a completion is, unless it is known."""
        self._places.execute("INSERT OR IGNORE INTO places VALUES (?, ?, ?)", (_key(line), table, number))

    def find(self, line: bytes) -> tuple[int, int] | None:
        """The table and line of a completion; None if it is new."""
        with closing(self._places.execute("SELECT tab, number FROM places WHERE line = ?", (_key(line),))) as found:
            place: tuple[int, int] | None = found.fetchone()
        return place

    def close(self) -> None:
        """Delete the temporary file."""
        self._places.close()


def _key(line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=16).digest()
