"""Greedy answers on disk, so that what was computed once is not computed again: by the next router, run or process.

An answer is found by everything that it depends on: the weights and how they are run, the hardware, the versions and
the backends' code, the prompt's tokens, the stop strings and the length. The ledger charges one that was found as if it
had been computed, with the time that it took; the trace's timings say so.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from harness.data import Completion
from harness.files import cache_folder
from harness.provenance import computed_by

log = logging.getLogger(__name__)

MAX_BYTES = 1 << 30
_HOUR = 3600


def answer_key(fingerprint: str, question: object) -> bytes:
    """Names an answer.

    Args:
        fingerprint: Of the model, as in its card.
        question: JSON-ready; whatever else the answer depends on.
    """
    whole = json.dumps([_computed_by(), fingerprint, question], separators=(",", ":"))
    return hashlib.sha256(whole.encode()).digest()


@cache
def _computed_by() -> dict[str, Any]:
    """Everything but the model: an answer is another one's after any change of the code that computes it."""
    package = Path(__file__).parents[1]
    sources = sorted(path for folder in ("backends", "weights") for path in (package / folder).rglob("*.py"))
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    return {**computed_by(), "code": code}


class CompletionCache:
    """Answers in an SQLite file that processes share; a kill loses nothing that was kept.

    Args:
        path: The file; default ``answers.sqlite`` in the cache folder.
        max_bytes: Above this size the answers that were used least recently are deleted.
    """

    def __init__(self, path: Path | None = None, max_bytes: int = MAX_BYTES) -> None:
        self._path = path or cache_folder("answers.sqlite")
        self._max_bytes = max_bytes
        self._coming: dict[bytes, asyncio.Future[Completion]] = {}
        self._database: sqlite3.Connection | None = None
        self._open()

    async def get_or_compute(self, key: bytes, compute: Callable[[], Awaitable[Completion]]) -> Completion:
        """The answer kept under ``key``, marked as reused, or a new one from ``compute``, which is kept.

        Of several that ask for the same at once, one computes and the others wait for it.
        """
        while (coming := self._coming.get(key)) is not None:
            with suppress(Exception, asyncio.CancelledError):
                return replace(await asyncio.shield(coming), reused=True)
            if (waiting := asyncio.current_task()) is not None and waiting.cancelling():
                raise asyncio.CancelledError
        known = self._get(key)
        if known is not None:
            await asyncio.sleep(0)  # others may go on, as while a model computes
            return replace(known, reused=True)
        ours = self._coming[key] = asyncio.get_running_loop().create_future()
        ours.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be waiting
        try:
            answer = await compute()
        except BaseException:
            ours.cancel()
            raise
        else:
            self._put(key, answer)
            ours.set_result(answer)
            return answer
        finally:
            del self._coming[key]

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # In a notebook the run's loop has a thread of its own; only one thread at a time comes here.
            database = self._database = sqlite3.connect(
                self._path, timeout=30, isolation_level=None, check_same_thread=False
            )
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute("PRAGMA auto_vacuum = INCREMENTAL")
            database.execute(
                "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, used INTEGER, answer BLOB) WITHOUT ROWID"
            )
            database.execute("CREATE INDEX IF NOT EXISTS answers_used ON answers (used)")
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)

    def _get(self, key: bytes) -> Completion | None:
        if self._database is None:
            return None
        now = int(time.time())
        try:
            row = self._database.execute("SELECT answer, used FROM answers WHERE key = ?", (key,)).fetchone()
            if row is None:
                return None
            answer = msgspec.msgpack.decode(row[0], type=Completion)
            if now - row[1] > _HOUR:
                self._database.execute("UPDATE answers SET used = ? WHERE key = ?", (now, key))
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            self._give_up(error)
            return None
        return answer

    def _put(self, key: bytes, answer: Completion) -> None:
        if self._database is None:
            return
        try:
            self._database.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)",
                (key, int(time.time()), msgspec.msgpack.encode(answer)),
            )
            if self._bytes() > self._max_bytes:
                self._shrink()
        except sqlite3.Error as error:
            self._give_up(error)

    def _bytes(self) -> int:
        assert self._database is not None  # noqa: S101 - asked by the caller
        pages, free, size = (
            self._database.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _shrink(self) -> None:
        """Delete the tenth of the answers that was used least recently, until there is room."""
        assert self._database is not None  # noqa: S101 - asked by the caller
        while self._bytes() > 0.9 * self._max_bytes:
            deleted = self._database.execute(
                "DELETE FROM answers WHERE key IN (SELECT key FROM answers ORDER BY used LIMIT "
                "(SELECT 1 + count(*) / 10 FROM answers))"
            )
            if not deleted.rowcount:
                break
        self._database.execute("PRAGMA incremental_vacuum")

    def _give_up(self, error: Exception) -> None:
        """Going on without is always right; only slower."""
        log.warning("answers are not kept: %s: %s; delete the file if it is damaged", self._path, error)
        self.close()
