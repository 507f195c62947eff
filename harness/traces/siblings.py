"""Siblings: entries of one group beside one another, which store each distinct completion's token statistics once.

A packed entry's ``episodes.jsonl.xz`` holds ``"completion": [table, line]`` in each call instead of the lists
``logprobs``, ``entropies`` and ``margins``. ``table`` counts the ``tables`` of the entry's ``pack.json``, and ``line``
the lines of that table's ``completions.jsonl.xz``, both from 0. Table 0 is the entry's own; the others are siblings'.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from harness.errors import MixrouteError
from harness.files import Record
from harness.json_files import read_json
from harness.lines import MOST_LINE, read_xz, xz_lines
from harness.text import quoted
from harness.traces.completions import IN_MEMORY, CompletionTable

PACK = "pack.json"
COMPLETIONS = "completions.jsonl.xz"
PACK_SCHEMA = 2

_REFERENCE = re.compile(rb'"completion":\[(\d+),(\d+)\]')
"""Matches no text of an episode: within JSON strings, quotes are escaped."""


class Shared(Record, frozen=True):
    """A file of an entry, with the SHA-256 of its decompressed content."""

    entry: str
    """Name of the entry's folder, beside the one that refers to it."""
    sha256: str


class Pack(Record, frozen=True):
    """The content of ``pack.json``."""

    schema: int
    tables: list[Shared]
    trained_on: Shared
    """The entry that holds the list of instances; one list serves all siblings that were trained alike."""


def sha256(content: bytes) -> str:
    """The SHA-256 of ``content``, in hex."""
    return hashlib.sha256(content).hexdigest()


def read_pack(folder: Path) -> Pack | None:
    """The ``pack.json`` of an entry; None for plain runs, and for entries that hold all of their statistics inline.

    Raises:
        MixrouteError: it is damaged, or names something else than folders beside the entry.
    """
    path = folder / PACK
    if not path.exists():
        return None
    pack: Pack = read_json(path, Pack, "restore the file")
    if pack.schema != PACK_SCHEMA:
        raise MixrouteError(f"{path} has schema {pack.schema}, not {PACK_SCHEMA}: read it with a newer mixroute")
    for name in (*(table.entry for table in pack.tables), pack.trained_on.entry):
        if name in ("", ".", "..") or "/" in name or "\\" in name:
            raise MixrouteError(f"{path}: {quoted(name)} is not the name of an entry's folder: restore the file")
    return pack


def sibling_file(folder: Path, entry: str, name: str) -> Path:
    """The file ``name`` of the entry ``entry`` that lies beside the entry ``folder``.

    Raises:
        MixrouteError: it is missing.
    """
    path = folder.resolve().parent / entry / name
    if not path.exists():
        raise MixrouteError(
            f"{folder / PACK} refers to {name} of the entry {entry}, but {path} is missing: put {entry} beside "
            f"{folder.name}, or pack the latter alone where both are: mixroute pack ENTRY --out FOLDER"
        )
    return path


def read_shared(path: Path, shared: Shared) -> bytes:
    """The decompressed content of a file that is named in a ``pack.json``.

    Raises:
        MixrouteError: it is damaged, or another one.
    """
    content = read_xz(path)
    _refuse_other(path, sha256(content), shared)
    return content


def _refuse_other(path: Path, found: str, shared: Shared) -> None:
    if found != shared.sha256:
        raise MixrouteError(
            f"{path} is not the file that {PACK} means (SHA-256 {found[:8]}…, not {shared.sha256[:8]}…): "
            "restore the file, or pack the entries that refer to it again"
        )


class _Tables:
    """The tables used last, by file, state of the file, and hash; those of a published group all fit."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[tuple[Path, int, str], CompletionTable] = OrderedDict()

    def read(self, path: Path, shared: Shared) -> CompletionTable:
        """The table in the file ``path``."""
        key = path, path.stat().st_mtime_ns, shared.sha256
        if key not in self._kept:
            table = CompletionTable(xz_lines(path))
            _refuse_other(path, table.sha256, shared)
            self._kept[key] = table
            self._bytes += table.size
            while self._bytes > self._most_bytes and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= dropped.size
        self._kept.move_to_end(key)
        return self._kept[key]


_tables = _Tables(IN_MEMORY)


def read_table(folder: Path, pack: Pack, number: int) -> CompletionTable:
    """One of the tables of an entry.

    Raises:
        MixrouteError: as ``sibling_file`` and ``read_shared``.
    """
    shared = pack.tables[number]
    path = sibling_file(folder, shared.entry, COMPLETIONS) if number else folder.resolve() / COMPLETIONS
    if not path.exists():
        raise MixrouteError(f"{path} is missing, which {PACK} names: restore the file")
    return _tables.read(path, shared)


def restorer(folder: Path) -> Callable[[bytes], bytes] | None:
    """A function that puts the statistics into a line of the entry's episodes; None where they are inline.

    Raises:
        MixrouteError: ``pack.json`` or a table is missing, damaged or another one; and, by the function, where a line
            refers to something that is not there.
    """
    pack = read_pack(folder)
    if pack is None:
        return None
    tables = [read_table(folder, pack, number) for number in range(len(pack.tables))]

    def found(reference: re.Match[bytes]) -> bytes:
        table, line = int(reference[1]), int(reference[2])
        if table >= len(tables) or line >= len(tables[table]):
            raise MixrouteError(
                f"{folder}: its episodes refer to completion {line} of table {table}, which {PACK} and the tables do "
                "not have: restore the entry"
            )
        return tables[table][line]

    def restored(line: bytes) -> bytes:
        size = len(line)

        def put(reference: re.Match[bytes]) -> bytes:
            nonlocal size
            statistics = found(reference)
            size += len(statistics)
            if size > MOST_LINE:  # a few bytes may refer to a long line many times
                raise MixrouteError(
                    f"{folder}: an episode has more than {MOST_LINE} bytes with its statistics: leave it out"
                )
            return statistics

        return _REFERENCE.sub(put, line)

    return restored
