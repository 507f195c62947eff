"""JSON files of any size, one element at a time, with the standard library's own decoder.

It takes ``NaN`` as Python's ``json.load`` does, by which the original reads its files, and as ijson does not.
"""

from __future__ import annotations

import io
import json
import lzma
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, cast

from mixroute import MixrouteError

FIX = "get the file anew from the WebShop release"

_CHUNK = 1 << 20
"""Characters read at a time."""

_LARGEST = 1 << 26
"""Characters; an element that does not end within so many is damaged. Products have a few thousand."""

_DECODER = json.JSONDecoder()


def _ignore(_bytes: int) -> None:
    """Ignore progress, for callers that show none."""


def elements(path: Path, report: Callable[[int], None] = _ignore) -> Iterator[dict[str, Any]]:
    """The objects of a JSON array.

    Args:
        path: The file, plain or ``.xz``.
        report: Called now and then with the bytes of the file read so far.

    Raises:
        MixrouteError: the file is cut off or damaged, or not an array of objects.
    """
    for number, element in enumerate(_Reader(path, "[", report).values(), 1):
        if not isinstance(element, dict):
            raise MixrouteError(f"{path}, element {number} is no object: {FIX}")
        yield element


def members(path: Path, report: Callable[[int], None] = _ignore) -> Iterator[tuple[str, Any]]:
    """The keys and values of a JSON object; arguments and errors are those of ``elements``."""
    reader = _Reader(path, "{", report)
    for key in reader.values():
        if not isinstance(key, str):
            raise reader.damaged("a key is no text")
        reader.expect(":")
        yield key, reader.value()


class _Reader:
    """Walks over the values of the outermost array or object."""

    def __init__(self, path: Path, opening: str, report: Callable[[int], None]) -> None:
        self._path, self._report = path, report
        self._closing = {"[": "]", "{": "}"}[opening]
        self._chunks = self._read()
        self._text, self._at, self._found = "", 0, 0
        self.expect(opening, "this is no JSON array" if opening == "[" else "this is no JSON object")

    def values(self) -> Iterator[Any]:
        """Each value up to the closing bracket; the caller may take more in between."""
        while (sign := self._next()) != self._closing:
            if sign == "," and self._found:
                self._at += 1
                self._next()
            elif self._found:
                raise self.damaged("a comma is missing")
            self._found += 1
            yield self.value()

    def value(self) -> Any:  # noqa: ANN401 - JSON
        """The value that begins here."""
        self._next()
        while True:
            try:
                value, self._at = _DECODER.raw_decode(self._text, self._at)
            except ValueError as error:
                # Either the text is damaged or the value goes on in the next chunk: more text tells.
                if len(self._text) - self._at > _LARGEST or not self._more():
                    raise self.damaged(str(error)) from error
            else:
                return value

    def expect(self, sign: str, otherwise: str = "") -> None:
        """Step over ``sign``."""
        if self._next() != sign:
            raise self.damaged(otherwise or f"'{sign}' is missing")
        self._at += 1

    def damaged(self, reason: str) -> MixrouteError:
        """The error to raise: what is wrong, and after how many whole elements."""
        return MixrouteError(f"{self._path} is cut off or damaged after element {self._found} ({reason}): {FIX}")

    def _next(self) -> str:
        """The next character that is no space."""
        while True:
            while self._at < len(self._text):
                if not self._text[self._at].isspace():
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                raise self.damaged("the end is missing")

    def _more(self) -> bool:
        chunk = next(self._chunks, "")
        self._text, self._at = self._text[self._at :] + chunk, 0
        return bool(chunk)

    def _unpacked(self, raw: BinaryIO) -> AbstractContextManager[BinaryIO]:
        return cast("BinaryIO", lzma.LZMAFile(raw)) if self._path.suffix == ".xz" else nullcontext(raw)

    def _read(self) -> Iterator[str]:
        try:
            with self._path.open("rb") as raw, self._unpacked(raw) as stream:
                text = io.TextIOWrapper(stream, encoding="utf-8")
                while chunk := text.read(_CHUNK):
                    self._report(raw.tell())
                    yield chunk
        except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
            raise MixrouteError(f"{self._path} cannot be read ({error}): {FIX}") from error
