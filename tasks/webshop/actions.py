"""The action grammar: ``search[words]`` and ``click[name]``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

SEARCH_FORM = "search[...]"
"""Stands for every search in a list of admissible actions."""

_BACK_DOORS = frozenset(("<r>", "<a>", "<c>", "<q>"))
"""First words by which the original's search gives random products or those of an attribute, category or query."""

_ACTION = re.compile(r"(.+)\[(.+)\]")


def parse(action: str) -> tuple[Literal["search", "click"], str] | None:
    """Verb and lower-case argument of an action; None for what is no action, back doors included.

    As the original matches it: from the start, without line breaks, and what follows the last ``]`` is ignored.
    """
    found = _ACTION.match(action)
    if found is None:
        return None
    verb, argument = found[1], found[2].lower()
    if verb == "search" and argument.split(" ")[0] not in _BACK_DOORS:
        return "search", argument
    return ("click", argument) if verb == "click" else None


class Admissible(tuple[str, ...]):
    """The actions that change something now, sorted. Searches are too many to list: on a page with a search bar
    ``search[...]`` stands for them. ``in`` tells of any action whether the shop would take it.
    """

    __slots__ = ()

    def __new__(cls, names: Iterable[str], search_bar: bool) -> Admissible:
        """The actions for the lower-case names of what can be clicked."""
        listed = [f"click[{name}]" for name in names]
        return super().__new__(cls, sorted([*listed, SEARCH_FORM] if search_bar else listed))

    def __contains__(self, action: object) -> bool:
        found = parse(action) if isinstance(action, str) else None
        return found is not None and (found[0] == "search" or super().__contains__(f"click[{found[1]}]"))
