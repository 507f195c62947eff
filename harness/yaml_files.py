"""YAML as people write it: one reader, which refuses what YAML would read as something else than was meant.

PyYAML reads YAML 1.1, of which YAML 1.2 changed what surprised: ``1e-3`` is a number here too, as in 1.2. What the two
read as different numbers (``010``, ``1:30``) is refused.
"""

from __future__ import annotations

import datetime
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from harness.errors import MixrouteError
from harness.json_files import MOST_DEPTH, BadValueError, check_values, read_file
from harness.text import one_line, quoted

if TYPE_CHECKING:
    _SafeLoader = yaml.SafeLoader
else:
    _SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # six times as fast, where PyYAML has libyaml

MOST_NODES = 1_000_000
"""Values of a file with those that its aliases repeat: a few lines of aliases can stand for any number of them."""

_FAULTS = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError, OverflowError)
"""What PyYAML raises: its constructors convert texts that match a pattern, and some that match are no values."""
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)[eE][-+]?[0-9]+")
"""Numbers with an exponent as YAML 1.2 has them; YAML 1.1 wants a point and a sign."""
_AMBIGUOUS = re.compile(
    r"[-+]?(?:0[0-9_]+|0[bo][0-7_]+|[0-9][0-9.]*_[0-9_.]*|[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?)"
)
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class _Loader(_SafeLoader):
    """Refuses repeated keys, of which YAML would silently keep the last, and numbers that may be read in two ways."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key {quoted(key.value)} is given twice", node.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        text = str(self.construct_scalar(node))
        number: int | float
        if _AMBIGUOUS.fullmatch(text):
            raise yaml.constructor.ConstructorError(
                None, None, f"{quoted(text)} is read as different numbers by YAML 1.1 and 1.2: write it without a "
                "leading zero, letter, underscore or colon, or in quotes if it is a text", node.start_mark,
            )  # fmt: skip
        read = self.construct_yaml_float if node.tag.endswith("float") else self.construct_yaml_int
        number = read(node)
        if math.isinf(number) and text.strip("+-").lower() != ".inf":
            raise BadValueError(f"{quoted(text)} is too large for a number")
        return number


for _tag in _NUMBERS:
    _Loader.add_constructor(_tag, _Loader.construct_number)
_Loader.add_implicit_resolver(_NUMBERS[1], re.compile(_FLOAT.pattern + r"\Z"), list("-+.0123456789"))


def read_yaml(path: Path, fix: str = "correct the file") -> Any:  # noqa: ANN401 - YAML
    """The content of a YAML file: JSON-like values of moderate size.

    Raises:
        MixrouteError: it is missing, too large, no UTF-8, no YAML, or holds a value that is none of JSON's.
    """
    content = read_file(path, fix)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MixrouteError(f"{path} is not YAML: {one_line(error)}: save it as UTF-8") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str) -> Any:  # noqa: ANN401 - YAML
    """The value of a YAML text; ``where`` names its origin in the error.

    Raises:
        MixrouteError: as ``read_yaml``.
    """
    try:
        _check_shape(text)
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
        check_values(value)
    except _FAULTS as error:
        what = f"no value {error}" if isinstance(error, KeyError) else error
        raise MixrouteError(f"{where} is not YAML: {one_line(what)}") from error
    return value


def _check_shape(text: str) -> None:
    """Refuse nesting that would exhaust the stack, and aliases that repeat too much or hold themselves."""
    nodes = 0
    sizes: dict[str, int] = {}
    begun: list[tuple[str | None, int]] = []
    for event in yaml.parse(text, Loader=_SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in begun):
                raise BadValueError(f"{quoted(event.anchor)} holds itself")
            nodes += sizes.get(event.anchor or "", 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            begun.append((event.anchor, nodes))
            nodes += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = begun.pop()
            sizes[anchor or ""] = nodes - before
        elif isinstance(event, yaml.ScalarEvent):
            sizes[event.anchor or ""] = 1
            nodes += 1
        if len(begun) > MOST_DEPTH:
            raise BadValueError(f"lists and mappings within one another are more than {MOST_DEPTH} deep")
        if nodes > MOST_NODES:
            raise BadValueError(f"it stands for more than {MOST_NODES} values")


def check_plain(value: object, what: str) -> None:
    """Refuse what YAML reads and JSON cannot hold: dates, infinities, binary data, keys that are no texts.

    Raises:
        BadValueError: there is such a value; ``what`` names it.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise BadValueError(f"{what} = {value!r} is no finite number")
    if isinstance(value, datetime.date):
        raise BadValueError(f"{what} = {value} is read as a date: put it in quotes")
    if isinstance(value, bytes | set):
        raise BadValueError(f"{what} = {quoted(value)} is none of text, number, list and mapping")
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise BadValueError(f"{what} has the key {quoted(key)}, which is no text: put it in quotes")
            check_plain(inner, f"{what}.{key}")
    elif isinstance(value, list | tuple):
        for inner in value:
            check_plain(inner, what)
