"""Files of JSON lines, plain or compressed, read line by line."""

from __future__ import annotations

import lzma
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TypeVar

import msgspec

from harness.errors import MixrouteError
from harness.files import Record, refuse_devices, replacing

R = TypeVar("R", bound=Record)

MOST_BYTES = 1 << 30
"""Most bytes that a compressed file may unpack to: a file of a few kilobytes can hold any number of them."""
MOST_LINE = 1 << 27
"""Most bytes of a line."""
_BLOCK = 1 << 16
_MOST_WINDOW = 1 << 24
"""Bytes that a compressor looks back."""


def read_xz(path: Path) -> bytes:
    """The content of an ``.xz`` file.

    Raises:
        MixrouteError: it is missing, damaged, no regular file, or unpacks to more than ``MOST_BYTES``.
    """
    return b"".join(xz_lines(path))


def xz_lines(path: Path) -> Iterator[bytes]:
    """The lines of an ``.xz`` file, as ``read_xz`` would read them.

    Raises:
        MixrouteError: as ``read_xz``.
    """
    refuse_devices(path)
    try:
        yield from _lines(path)
    except (OSError, lzma.LZMAError, EOFError) as error:
        raise MixrouteError(f"{path} cannot be read ({error}): restore the file") from error


def write_xz(path: Path, content: IO[bytes]) -> None:
    """Compress a file from its beginning, and replace ``path`` at once.

    Raises:
        MixrouteError: it is larger than what is read again.
    """
    # A window of the content's size compresses as well as the preset's. Compression takes about 12 times its memory.
    size = content.seek(0, os.SEEK_END)
    if size > MOST_BYTES:
        raise MixrouteError(
            f"{path} would unpack to {size} bytes, and entries have {MOST_BYTES} at most: split the run"
        )
    window = min(_MOST_WINDOW, max(1 << 12, size))
    lzma2 = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": window}
    content.seek(0)
    with replacing(path) as file, lzma.open(file, "wb", filters=[lzma2]) as compressed:
        shutil.copyfileobj(content, compressed)


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
    refuse_devices(path)
    try:
        yield from _decode_lines(path, msgspec.json.Decoder(kind), change)
    except (EOFError, lzma.LZMAError) as error:
        raise MixrouteError(f"{path} is cut off or no xz file ({error}): fetch or pack it again") from error


def _decode_lines(path: Path, decoder: msgspec.json.Decoder[R], change: Callable[[bytes], bytes]) -> Iterator[R]:
    for number, line in enumerate(_lines(path), start=1):
        if not line.endswith(b"\n"):
            if len(line) < MOST_LINE:
                return  # torn
            raise MixrouteError(f"{path}:{number} is longer than {MOST_LINE} bytes: delete the line to replay it")
        try:
            yield decoder.decode(change(line))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise MixrouteError(f"{path}:{number} is corrupt ({error}): delete the line to replay it") from error


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, cut at ``MOST_LINE`` bytes; of a compressed one, ``MOST_BYTES`` at most."""
    is_packed, total = path.suffix == ".xz", 0
    with lzma.open(path, "rb") if is_packed else path.open("rb") as handle:
        while line := handle.readline(MOST_LINE):
            total += len(line)
            if is_packed and total > MOST_BYTES:
                raise MixrouteError(
                    f"{path} unpacks to more than {MOST_BYTES} bytes: no entry is so large; leave it out"
                )
            yield line


def repair(path: Path) -> None:
    """Cut a last line that a kill left half-written."""
    if not path.exists():
        return
    with path.open("rb+") as handle:
        end = size = handle.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - _BLOCK)
            handle.seek(start)
            if (last := handle.read(end - start).rfind(b"\n")) >= 0:
                end = start + last + 1
                break
            end = start
        if end < size:
            handle.truncate(end)
