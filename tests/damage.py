"""Damage to files, for the property tests of their readers: bytes changed, and JSON values replaced by foreign ones."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

FOREIGN: list[Any] = [
    None, True, -1, 0, 1.5, 1e300, -1e308, 10**400, 1 << 70, "", "..", "../x", "a\0b", "\x1b[31m", "\u202e", "x" * 5000,
    [], [[]], {}, {"": None}, {"a": {"b": []}}, [None], [1, "2"],
]  # fmt: skip
"""Values of wrong types, sizes and characters."""
RAW = [b"[" * 3000 + b"]" * 3000, b'"\\ud800"', b"1e999", b"NaN", b"\xff", b'"\xff"', b"", b"1" * 5000]
"""Texts that stand for no value, or for none that can be written."""


def _paths(value: object, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here] + [path for key, one in inner for path in _paths(one, (*here, key))]


@st.composite
def damaged_json(draw: st.DrawFn, content: bytes) -> bytes:
    """A JSON document with some of its values removed, or replaced by foreign ones."""
    value = json.loads(content)
    marks: dict[bytes, bytes] = {}
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(_paths(value)))
        if not path:
            value = deepcopy(draw(st.sampled_from(FOREIGN)))
            break
        parent = value
        for key in path[:-1]:
            parent = parent[key]
        how = draw(st.sampled_from(["foreign", "raw", "gone"]))
        if how == "gone":
            del parent[path[-1]]
        elif how == "foreign":
            parent[path[-1]] = deepcopy(draw(st.sampled_from(FOREIGN)))
        else:
            mark = f"mark {len(marks)}"
            marks[json.dumps(mark).encode()] = draw(st.sampled_from(RAW))
            parent[path[-1]] = mark
    content = json.dumps(value).encode()
    for place, raw in marks.items():
        content = content.replace(place, raw)
    return content


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """A file with some of its bytes changed, removed, or cut off at its end."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 8))):
        place = draw(st.integers(0, max(0, len(changed) - 1)))
        changed[place : place + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(changed[: draw(st.sampled_from([len(changed), len(changed), len(changed) // 2, 0]))])


def damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """A damaged JSON document."""
    return damaged_json(content) | damaged_bytes(content)
