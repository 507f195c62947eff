"""Greedy completions on disk, so that none is computed twice: by the next router, run or process.

The key of a completion covers everything that it depends on: the weights and how they are run, the hardware, the
versions and the backend's code, the prompt's tokens, the stop strings and the length. The ledger charges a reused
completion as if it had been computed, with the time of the first computation; the trace's timings state which ones
were reused.
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
from pathlib import Path
from typing import Any

import msgspec

from harness.backends.source_hash import source_hash
from harness.data import Completion
from harness.files import cache_folder
from harness.provenance import computed_by

log = logging.getLogger(__name__)

MAX_BYTES = 1 << 30
_HOUR = 3600
_CHECKSUM_BYTES = 16
_FAILURES = (sqlite3.Error, OSError, UnicodeDecodeError, OverflowError)
"""What ``sqlite3`` raises where a file cannot be used; the last two for messages and numbers out of a damaged one."""


def completion_key(backend: type[Any], fingerprint: str, question: object) -> bytes:
    """The key of a completion. It is another one after any change of the code that computes the completion.

    Args:
        backend: Class that computes it, of this package or of a plug-in.
        fingerprint: Of the model, as in its card.
        question: JSON-ready; everything else that the completion depends on.
    """
    code = source_hash(backend)  # type: ignore[arg-type] # mypy takes the metaclass's __hash__ for the instances'
    computation = {**computed_by(), "code": code}
    whole = json.dumps([computation, fingerprint, question], separators=(",", ":"))
    return hashlib.sha256(whole.encode()).digest()


class _DamagedError(Exception):
    """A row that does not hold what was stored under its key."""


class CompletionCache:
    """Completions in an SQLite file that processes share; a kill loses none that was stored.

    Each row begins with a checksum of its key and its completion. A row that fails it is deleted and computed again.

    Args:
        path: The file; default ``completions.sqlite`` in the cache folder.
        max_bytes: Above this size the completions that were used least recently are deleted.
    """

    def __init__(self, path: Path | None = None, max_bytes: int = MAX_BYTES) -> None:
        self._path = path or cache_folder("completions.sqlite")
        self._max_bytes = max_bytes
        self._pending: dict[bytes, asyncio.Future[Completion]] = {}
        self._database: sqlite3.Connection | None = None
        self._reported_damage = False
        self._open()

    async def get_or_compute(self, key: bytes, compute: Callable[[], Awaitable[Completion]]) -> Completion:
        """The completion stored under ``key``, marked as reused, or a new one from ``compute``, which is stored.

        Of several callers that ask for one key at once, one computes and the others wait for it.
        """
        while (pending := self._pending.get(key)) is not None:
            with suppress(Exception, asyncio.CancelledError):
                return replace(await asyncio.shield(pending), reused=True)
            if (waiting := asyncio.current_task()) is not None and waiting.cancelling():
                raise asyncio.CancelledError
        known = self._get(key)
        if known is not None:
            await asyncio.sleep(0)  # lets other tasks go on, as they do while a model computes
            return replace(known, reused=True)
        ours = self._pending[key] = asyncio.get_running_loop().create_future()
        ours.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be waiting
        try:
            completion = await compute()
        except BaseException:
            ours.cancel()
            raise
        else:
            self._put(key, completion)
            ours.set_result(completion)
            return completion
        finally:
            del self._pending[key]

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _open(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if not self._path.exists() and self._path == cache_folder("completions.sqlite"):
                for suffix in ("", "-wal", "-shm"):  # of versions before 0.2, whose keys nobody asks for any more
                    cache_folder(f"answers.sqlite{suffix}").unlink(missing_ok=True)
            # In a notebook the run's loop has a thread of its own; only one thread at a time comes here.
            database = self._database = sqlite3.connect(
                self._path, timeout=30, isolation_level=None, check_same_thread=False
            )
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute("PRAGMA auto_vacuum = INCREMENTAL")
            database.execute(
                "CREATE TABLE IF NOT EXISTS completions "
                "(key BLOB PRIMARY KEY, used INTEGER, completion BLOB) WITHOUT ROWID"
            )
            database.execute("CREATE INDEX IF NOT EXISTS completions_used ON completions (used)")
        except _FAILURES as error:
            self._give_up(error)

    def _get(self, key: bytes) -> Completion | None:
        if self._database is None:
            return None
        now = int(time.time())
        try:
            # Cast, since damage may change the type of a value.
            row = self._database.execute(
                "SELECT CAST(completion AS BLOB), CAST(used AS INTEGER) FROM completions WHERE key = ?", (key,)
            ).fetchone()
            if row is None:
                return None
            try:
                completion = _opened(key, row[0])
            except _DamagedError as error:
                self._drop(key, error)
                return None
            if not isinstance(row[1], int) or abs(now - row[1]) > _HOUR:
                self._database.execute("UPDATE completions SET used = ? WHERE key = ?", (now, key))
        except _FAILURES as error:
            self._give_up(error)
            return None
        return completion

    def _drop(self, key: bytes, error: Exception) -> None:
        assert self._database is not None  # noqa: S101 - checked by the caller
        self._database.execute("DELETE FROM completions WHERE key = ?", (key,))
        if not self._reported_damage:
            self._reported_damage = True
            log.warning(
                "%s is damaged (%s): what fails its checksum is computed again; delete the file if this is said often",
                self._path,
                error,
            )

    def _put(self, key: bytes, completion: Completion) -> None:
        if self._database is None:
            return
        try:
            self._database.execute(
                "INSERT OR REPLACE INTO completions VALUES (?, ?, ?)",
                (key, int(time.time()), _sealed(key, completion)),
            )
            if self._bytes() > self._max_bytes:
                self._shrink()
        except _FAILURES as error:
            self._give_up(error)

    def _bytes(self) -> int:
        assert self._database is not None  # noqa: S101 - checked by the caller
        pages, free, size = (
            self._database.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _shrink(self) -> None:
        """Delete the tenth of the completions that was used least recently, until there is room."""
        assert self._database is not None  # noqa: S101 - checked by the caller
        while self._bytes() > 0.9 * self._max_bytes:
            deleted = self._database.execute(
                "DELETE FROM completions WHERE key IN (SELECT key FROM completions ORDER BY used LIMIT "
                "(SELECT 1 + count(*) / 10 FROM completions))"
            )
            if not deleted.rowcount:
                break
        self._database.execute("PRAGMA incremental_vacuum")

    def _give_up(self, error: Exception) -> None:
        """Go on without the file: results are the same, only slower."""
        log.warning(
            "completions are not cached: %s: %s; delete the file if it is damaged; if its file system has no locks, "
            "set MIXROUTE_CACHE to a folder on a local disk",
            self._path,
            error,
        )
        self.close()


def _checksum(key: bytes, content: bytes) -> bytes:
    return hashlib.sha256(key + content).digest()[:_CHECKSUM_BYTES]


def _sealed(key: bytes, completion: Completion) -> bytes:
    content = msgspec.msgpack.encode(completion)
    return _checksum(key, content) + content


def _opened(key: bytes, stored: object) -> Completion:
    """The completion of a row.

    Raises:
        _DamagedError: it is not what was stored under this key.
    """
    if not isinstance(stored, bytes):
        raise _DamagedError(f"a row holds {type(stored).__name__}")
    if stored[:_CHECKSUM_BYTES] != _checksum(key, stored[_CHECKSUM_BYTES:]):
        raise _DamagedError("a row's checksum is not that of its content")
    try:
        return msgspec.msgpack.decode(stored[_CHECKSUM_BYTES:], type=Completion)
    except msgspec.MsgspecError as error:
        raise _DamagedError(f"a row is of another version: {error}") from error
