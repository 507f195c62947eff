"""Reading PDDL problems, as much of the language as a game needs: declared objects, ground initial facts, one goal.

Everything is lower-cased, as Fast Downward does, so identifiers sort and compare as in the original engine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

Fact: TypeAlias = tuple[str, ...]
"""A ground atom: the predicate, then its arguments."""

Expression: TypeAlias = "str | list[Expression]"
"""An s-expression: a symbol or a list."""

_TOKEN = re.compile(r"[()]|[^\s()]+")
_COMMENT = re.compile(r";[^\n]*")


class PddlError(ValueError):
    """The text is not a PDDL problem that this reader understands; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A parsed problem. ``objects`` maps each declared object to its type, ``goal`` is the body of ``(:goal …)``."""

    objects: dict[str, str]
    facts: tuple[Fact, ...]
    goal: Expression


def predicates(names: str) -> frozenset[str]:
    """A set of predicates, written as words."""
    return frozenset(names.split())


def read_expression(text: str) -> Expression:
    """The one s-expression in ``text``, lower-cased and without comments.

    Raises:
        PddlError: unbalanced parentheses, or not exactly one expression.
    """
    stack: list[list[Expression]] = [[]]
    for token in _TOKEN.findall(_COMMENT.sub("", text).lower()):
        if token == "(":  # noqa: S105 - a parenthesis, not a password
            stack.append([])
        elif token == ")":  # noqa: S105
            if len(stack) == 1:
                raise PddlError("a closing parenthesis has no opening one")
            closed = stack.pop()
            stack[-1].append(closed)
        else:
            stack[-1].append(token)
    if len(stack) > 1:
        raise PddlError(f"{len(stack) - 1} parentheses are never closed: the text is cut off")
    if len(stack[0]) != 1:
        raise PddlError(f"expected one expression, found {len(stack[0])}")
    return stack[0][0]


def read_problem(text: str) -> Problem:
    """Parse a problem file.

    Raises:
        PddlError: not a problem, a section missing, or a fact that is not a ground atom over declared objects.
    """
    define = read_expression(text)
    if not isinstance(define, list) or not define or define[0] != "define":
        raise PddlError("the text does not begin with (define …")
    sections: dict[str, list[Expression]] = {}
    for part in define[1:]:
        if isinstance(part, list) and part and isinstance(part[0], str):
            sections[part[0]] = part[1:]
    for name in (":objects", ":init", ":goal"):
        if name not in sections:
            raise PddlError(f"the problem has no ({name} …) section")
    objects = typed_names(sections[":objects"])
    goal = sections[":goal"]
    if len(goal) != 1:
        raise PddlError(f"the goal has {len(goal)} expressions instead of one")
    return Problem(objects, tuple(_facts(sections[":init"], objects)), goal[0])


def typed_names(items: list[Expression]) -> dict[str, str]:
    """The names of a typed list such as ``apple bread - object agent1 - agent``, each with its type.

    Raises:
        PddlError: a nested list, or a dash without a type.
    """
    typed: dict[str, str] = {}
    untyped: list[str] = []
    symbols = iter(items)
    for item in symbols:
        if not isinstance(item, str):
            raise PddlError("a typed list holds a nested list")
        if item == "-":
            kind = next(symbols, None)
            if not isinstance(kind, str):
                raise PddlError("a dash in a typed list is not followed by a type")
            typed.update(dict.fromkeys(untyped, kind))
            untyped = []
        else:
            untyped.append(item)
    typed.update(dict.fromkeys(untyped, "object"))
    return typed


def _facts(items: list[Expression], objects: dict[str, str]) -> list[Fact]:
    facts = []
    for item in items:
        if not isinstance(item, list) or not item:
            raise PddlError(f"an initial fact is '{item}' instead of (predicate argument …)")
        if item[0] == "=":  # the metric's numbers, which no rule of the game reads
            continue
        symbols = [symbol for symbol in item if isinstance(symbol, str)]
        if len(symbols) < len(item):
            raise PddlError(f"the initial fact ({' '.join(symbols)} …) is not a ground atom")
        for argument in symbols[1:]:
            if argument not in objects:
                raise PddlError(f"the initial fact ({' '.join(symbols)}) names the undeclared object '{argument}'")
        facts.append(tuple(symbols))
    return facts
