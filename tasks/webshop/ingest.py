"""Databases from sources of products, in memory or built once in the cache folder."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from harness.files import cache_folder, locked
from harness.terminal import Terminal
from mixroute import MixrouteError
from tasks.webshop.builder import StoreBuilder
from tasks.webshop.store import VERSION, Store

Report = Callable[[str, int], Callable[[int], None]]
"""Opens a progress bar: takes a description and the total, and returns a function that takes the amount done."""


class Source(Protocol):
    """A source of products."""

    @property
    def key(self) -> str:
        """Identifier of these products that can be part of a file name."""
        ...

    @property
    def large(self) -> bool:
        """Whether there are too many products to read them at each start."""
        ...

    def fill(self, builder: StoreBuilder, report: Report) -> None:
        """Add all products; a stopped call is resumed.

        Raises:
            MixrouteError: a product is damaged.
        """
        ...


def in_memory(source: Source) -> Store:
    """Build a database in memory."""
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    builder = StoreBuilder(connection)
    source.fill(builder, lambda _what, _total: lambda _done: None)
    builder.finish()
    return Store(connection)


def on_disk(source: Source) -> Store:
    """Open the database of these products; it is built first if it is missing or unfinished.

    Two processes may call this at once: one builds, the other waits. A build that was stopped is gone on with.

    Raises:
        MixrouteError: a product or the database is damaged, or the disk is full.
    """
    folder = cache_folder("webshop", "stores")
    folder.mkdir(parents=True, exist_ok=True)
    finished = folder / f"{source.key}-{VERSION}.sqlite"
    if not finished.exists():
        with locked(finished.with_suffix(".lock")):
            if not finished.exists():
                _build(source, finished)
    try:
        return Store.open(finished)
    except sqlite3.DatabaseError as error:
        raise MixrouteError(
            f"{finished} is damaged ({error}): remove it and run again; if its file system has no locks, set "
            "MIXROUTE_CACHE to a folder on a local disk"
        ) from error


def _build(source: Source, finished: Path) -> None:
    part, scratch = finished.with_suffix(".part"), finished.with_suffix(".scratch")
    if part.exists() != scratch.exists():  # one is of no use without the other
        _remove(part, scratch)
    connection = sqlite3.connect(part)
    try:
        # A stopped process loses nothing; only a power failure could, and then the build begins anew.
        connection.execute("PRAGMA synchronous = OFF")
        builder = StoreBuilder(connection, str(scratch))
        connection.execute("PRAGMA scratch.synchronous = OFF")
        if not builder.finished:
            with _progress() as report:
                source.fill(builder, report)
                builder.finish()
    except sqlite3.OperationalError as error:
        raise MixrouteError(
            f"{part} cannot be written ({error}): run again to go on from there; if its file system has no locks, set "
            "MIXROUTE_CACHE to a folder on a local disk"
        ) from error
    except sqlite3.DatabaseError as error:
        connection.close()
        _remove(part, scratch)
        raise MixrouteError(f"the unfinished {part} is damaged ({error}) and was removed: run again") from error
    finally:
        connection.close()
    scratch.unlink(missing_ok=True)
    part.replace(finished)


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


@contextmanager
def _progress() -> Iterator[Report]:
    columns = (TextColumn("WebShop: {task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Terminal(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:

        def report(what: str, total: int) -> Callable[[int], None]:
            bar = progress.add_task(what, total=total)
            return lambda done: progress.update(bar, completed=done)

        yield report
