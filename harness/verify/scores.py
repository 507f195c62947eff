"""Scored answers on disk: routers share questions, so that most answers of an entry were scored for another."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

from harness import backends
from harness.data import GivenAnswer, Request, ScoredToken
from harness.files import cache_folder

Scores = tuple[ScoredToken, ...] | None
"""See ``harness.contracts.SupportsScoring``."""

_CODE = ("decoding.py", "encoding.py", "linear.py", "packed.py", "scoring.py")
"""Modules of ``harness.backends`` that scores depend on."""


def score_key(fingerprint: str, request: Request, answer: GivenAnswer) -> bytes:
    """The key of a scored answer; another one after any change of the code that scores."""
    asked = (request.prompt, request.continue_from, request.stop)
    whole = msgspec.msgpack.encode((_scoring(), fingerprint, asked, answer))
    return hashlib.sha256(whole).digest()


@cache
def _scoring() -> str:
    folder = Path(str(backends.__file__)).parent
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in _CODE)).hexdigest()


class ScoreStore:
    """An SQLite file that processes may share; a kill loses nothing that was stored.

    Args:
        path: The file; default ``scores.sqlite`` in the cache folder.
    """

    def __init__(self, path: Path | None = None) -> None:
        path = path or cache_folder("scores.sqlite")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, timeout=30)
        self._database.execute("CREATE TABLE IF NOT EXISTS scores (key BLOB PRIMARY KEY, scores BLOB) WITHOUT ROWID")

    def __contains__(self, key: bytes) -> bool:
        """Whether an answer was scored."""
        return self._row(key) is not None

    def read(self, key: bytes) -> Scores:
        """The scores of an answer.

        Raises:
            KeyError: it was not scored.
        """
        row = self._row(key)
        if row is None:
            raise KeyError(key.hex())
        return msgspec.msgpack.decode(row, type=tuple[ScoredToken, ...] | None)

    def write(self, scores: Mapping[bytes, Scores]) -> None:
        """Store the scores of several answers."""
        rows = [(key, msgspec.msgpack.encode(found)) for key, found in scores.items()]
        with self._database:
            self._database.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?)", rows)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _row(self, key: bytes) -> bytes | None:
        found = self._database.execute("SELECT scores FROM scores WHERE key = ?", (key,)).fetchone()
        return None if found is None else found[0]
