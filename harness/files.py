"""Files: the cache folder, writing whole files, content hashes, and files of JSON lines."""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from harness.errors import MixrouteError


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of a file of JSON lines."""


R = TypeVar("R", bound=Record)


def cache_folder(*parts: str) -> Path:
    """A folder below ``$MIXROUTE_CACHE``, or the platform's cache folder; it may not exist yet."""
    root = os.environ.get("MIXROUTE_CACHE")
    return (Path(root) if root else user_cache_path("mixroute")).joinpath(*parts)


def made_once(kind: str, identity: str, make: Callable[[Path], None]) -> Path:
    """The cached folder ``kind/identity``; ``make`` writes it the first time, and processes wait for one another.

    ``make`` gets the path to write to; the folder around it is its own, for whatever it needs on the way.
    """
    folder = cache_folder(kind, identity)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
                made = Path(scratch) / "made"
                make(made)
                made.replace(folder)
    return folder


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Keep a folder, made if need be, for this process until the block ends.

    Raises:
        MixrouteError: another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise MixrouteError(f"{folder} is in use by another mixroute process: wait, or use another --out") from None
    try:
        yield
    finally:
        lock.release()


def content_hash(value: object) -> str:
    """SHA-256 (hex) of the canonical JSON of ``value``: sorted keys, no spaces."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` so that a reader sees the old file or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    with part.open("rb") as handle:
        os.fsync(handle.fileno())
    part.replace(path)


def read_lines(path: Path, kind: type[R], change: Callable[[bytes], bytes] = bytes) -> Iterator[R]:
    """The records of a file of JSON lines; none where there is no file. A torn last line is passed over.

    Args:
        path: The file, plain or compressed (``.xz``).
        kind: The type of its records.
        change: Applied to each line before it is decoded.

    Raises:
        MixrouteError: a line is corrupt.
    """
    if not path.exists():
        return
    try:
        yield from _decode_lines(path, msgspec.json.Decoder(kind), change)
    except (EOFError, lzma.LZMAError) as error:
        raise MixrouteError(f"{path} is cut off or no xz file ({error}): fetch or pack it again") from error


def _decode_lines(path: Path, decoder: msgspec.json.Decoder[R], change: Callable[[bytes], bytes]) -> Iterator[R]:
    with lzma.open(path, "rb") if path.suffix == ".xz" else path.open("rb") as handle:
        for number, line in enumerate(handle, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield decoder.decode(change(line))
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise MixrouteError(f"{path}:{number} is corrupt ({error}): delete the line to replay it") from error


def repair(path: Path) -> None:
    """Cut a last line that a kill left half-written."""
    if not path.exists():
        return
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        write_atomically(path, content[: content.rfind(b"\n") + 1])
