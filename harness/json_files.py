"""Small JSON files into checked values: one reader, with errors that name the file and the fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from harness.errors import MixrouteError
from harness.files import read_small
from harness.text import is_unicode, one_line, quoted

T = TypeVar("T")

MOST_DEPTH = 100
"""Lists and objects within one another; deeper ones exhaust the stack of whatever walks over them."""
MOST_INTEGER = (1 << 63) - 1
"""Largest magnitude of an integer; arithmetic with larger ones overflows."""


class Schema(msgspec.Struct):
    """A file of which only the number of its form is read."""

    schema: int


class BadValueError(ValueError):
    """A value that is valid JSON or YAML, and that no file of ours may hold."""


def read_json(path: Path, kind: type[T] | Any, fix: str) -> T:  # noqa: ANN401 - mypy has no type for unions and aliases
    """The content of a small JSON file.

    Args:
        path: The file.
        kind: Its type, as msgspec takes it.
        fix: What the user can do, for the end of messages: ``restore the file``.

    Raises:
        MixrouteError: it is missing, no regular file, too large, no JSON, or not of this type.
    """
    found: T = decode_json(read_file(path, fix), kind, str(path), fix)
    return found


def read_file(path: Path, fix: str) -> bytes:
    """The content of a small file.

    Raises:
        MixrouteError: it cannot be read, or is too large.
    """
    try:
        return read_small(path)
    except OSError as error:
        raise MixrouteError(f"{path} cannot be read ({error.strerror}): {fix}") from error


def decode_json(content: bytes, kind: type[T] | Any, where: str, fix: str) -> T:  # noqa: ANN401 - as read_json
    """The value that JSON holds; ``where`` names its origin in the error.

    Raises:
        MixrouteError: it is no JSON, or not of this type.
    """
    try:
        plain = msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MixrouteError(f"{where} is no JSON ({one_line(error)}): {fix}") from error
    found: T = convert_plain(plain, kind, where, fix)
    return found


def convert_plain(plain: object, kind: type[T] | Any, where: str, fix: str) -> T:  # noqa: ANN401 - as read_json
    """What JSON or YAML held, checked against a type.

    Raises:
        MixrouteError: it is not of this type.
    """
    try:
        check_values(plain)
        found: T = msgspec.convert(plain, kind)
    except (msgspec.MsgspecError, BadValueError) as error:
        raise MixrouteError(f"{where} is not valid ({one_line(error)}): {fix}") from error
    return found


def check_values(plain: object) -> None:
    """Refuse what breaks those who use it: deep nesting, huge integers, characters that cannot be written or named.

    Raises:
        BadValueError: there is such a value.
    """
    pending: list[tuple[object, int]] = [(plain, 1)]
    while pending:
        value, depth = pending.pop()
        if depth > MOST_DEPTH:
            raise BadValueError(f"lists and objects within one another are more than {MOST_DEPTH} deep")
        if isinstance(value, str):
            if "\0" in value or not is_unicode(value):
                raise BadValueError(f"{quoted(value)} holds a NUL or half a character")
        elif isinstance(value, int):
            if abs(value) > MOST_INTEGER:
                raise BadValueError(f"{quoted(value)} is too large for an integer")
        elif isinstance(value, dict):
            pending += ((part, depth + 1) for pair in value.items() for part in pair)
        elif isinstance(value, list | tuple | set):
            pending += ((part, depth + 1) for part in value)
