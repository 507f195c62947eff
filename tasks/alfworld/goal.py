"""Goals: a PDDL goal is grounded once per game into a tree of facts, so that each check is a few set lookups.

A node of the tree maps a fact to what must hold besides it; the goal is reached when some path of facts that hold leads
to a leaf (``None``). Facts that no action changes are resolved while grounding.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

from tasks.alfworld.pddl import Expression, Fact, PddlError, Problem, predicates, typed_names

DYNAMIC = predicates(
    "atlocation opened inreceptacle objectatlocation holds holdsany checked "
    "isclean ishot iscool issliced ison istoggled"
)
"""Predicates that actions change."""

Binding: TypeAlias = dict[str, str]
Node: TypeAlias = "dict[Fact, Node] | None"


@dataclass(frozen=True, slots=True)
class _Literal:
    """An atom over variables (``?o#3``) and constants, or its negation."""

    atom: Fact
    positive: bool = True


@dataclass(frozen=True, slots=True)
class _Conjunction:
    """Literals that must hold together for some values of the variables, given with their types."""

    literals: tuple[_Literal, ...]
    variables: Mapping[str, str]


class Goal:
    """The condition under which a game is won.

    Args:
        problem: The problem whose goal is grounded over its own objects and unchanging facts.

    Raises:
        PddlError: the goal uses a form other than ``exists``, ``and``, ``or``, ``=`` and ``not`` of an unchanging atom.
    """

    def __init__(self, problem: Problem) -> None:
        self._objects = problem.objects
        self._static: dict[str, set[Fact]] = {}
        for fact in problem.facts:
            if fact[0] not in DYNAMIC:
                self._static.setdefault(fact[0], set()).add(fact)
        self._root: Node = {}
        for conjunction in _Normaliser().disjuncts(problem.goal, {}):
            for binding in self._bindings(conjunction):
                changing = [x.atom for x in conjunction.literals if x.atom[0] in DYNAMIC]
                self._root = _with_path(self._root, list(dict.fromkeys(_ground(atom, binding) for atom in changing)))

    def reached(self, facts: Collection[Fact]) -> bool:
        """Whether the state with these changing facts is a winning one."""
        return _holds(self._root, facts)

    def _bindings(self, conjunction: _Conjunction) -> Iterator[Binding]:
        """Values of the variables under which all unchanging literals hold."""
        resolved = [x for x in conjunction.literals if x.atom[0] not in DYNAMIC]
        bindings: list[Binding] = [{}]
        for literal in resolved:
            if literal.positive and literal.atom[0] != "=":
                bindings = list(self._joined(literal.atom, bindings))
        for binding in bindings:
            free = [name for name in conjunction.variables if name not in binding]
            domains = [[o for o, kind in self._objects.items() if kind == conjunction.variables[name]] for name in free]
            for values in product(*domains):
                full = {**binding, **dict(zip(free, values, strict=True))}
                typed = all(self._objects[value] == conjunction.variables[name] for name, value in full.items())
                if typed and all(self._true(x.atom, full) == x.positive for x in resolved):
                    yield full

    def _joined(self, atom: Fact, bindings: list[Binding]) -> Iterator[Binding]:
        """Every binding extended by every fact that matches ``atom``."""
        matching = [
            fact for fact in sorted(self._static.get(atom[0], ()))
            if len(fact) == len(atom) and all(t.startswith("?") or t == v for t, v in zip(atom, fact, strict=True))
        ]  # fmt: skip
        for binding in bindings:
            for fact in matching:
                new = dict(binding)
                pairs = zip(atom, fact, strict=True)
                if all(not t.startswith("?") or new.setdefault(t, value) == value for t, value in pairs):
                    yield new

    def _true(self, atom: Fact, binding: Binding) -> bool:
        ground = _ground(atom, binding)
        return ground[1] == ground[2] if ground[0] == "=" else ground in self._static.get(ground[0], ())


class _Normaliser:
    """Brings a goal into disjunctive form; each ``exists`` gets variables of its own."""

    def __init__(self) -> None:
        self._count = 0

    def disjuncts(self, goal: Expression, names: Mapping[str, str]) -> list[_Conjunction]:
        """The alternatives of ``goal``; ``names`` gives the fresh name of each variable in scope."""
        if isinstance(goal, str) or not goal or not isinstance(goal[0], str):
            raise PddlError(f"the goal holds '{goal}' instead of (form …)")
        form, *parts = goal
        if form == "exists" and len(parts) == 2 and isinstance(parts[0], list):
            self._count += 1
            typed = typed_names(parts[0])
            fresh = {name: f"{name}#{self._count}" for name in typed}
            types = {fresh[name]: kind for name, kind in typed.items()}
            inner = self.disjuncts(parts[1], {**names, **fresh})
            return [_Conjunction(c.literals, {**types, **c.variables}) for c in inner]
        if form == "and":
            return [_merged(choice) for choice in product(*(self.disjuncts(part, names) for part in parts))]
        if form == "or":
            return [c for part in parts for c in self.disjuncts(part, names)]
        if form == "not" and len(parts) == 1 and isinstance(parts[0], list):
            atom = _atom(parts[0], names)
            if atom[0] in DYNAMIC:
                raise PddlError(f"the goal negates '{atom[0]}', which actions change: such goals are not supported")
            return [_Conjunction((_Literal(atom, positive=False),), {})]
        return [_Conjunction((_Literal(_atom(goal, names)),), {})]


def _atom(expression: list[Expression], names: Mapping[str, str]) -> Fact:
    symbols = [symbol for symbol in expression if isinstance(symbol, str)]
    if len(symbols) < len(expression) or not symbols or symbols[0] in ("forall", "imply", "when", "exists", "not"):
        raise PddlError(f"the goal's form '{symbols[0] if symbols else expression}' is not supported here")
    if symbols[0] == "=" and len(symbols) != 3:
        raise PddlError("the goal's '=' does not have two terms")
    unbound = [s for s in symbols if s.startswith("?") and s not in names]
    if unbound:
        raise PddlError(f"the goal's variable '{unbound[0]}' is not introduced by an exists")
    return tuple(names.get(symbol, symbol) for symbol in symbols)


def _merged(parts: tuple[_Conjunction, ...]) -> _Conjunction:
    variables = {name: kind for part in parts for name, kind in part.variables.items()}
    return _Conjunction(tuple(x for part in parts for x in part.literals), variables)


def _ground(atom: Fact, binding: Binding) -> Fact:
    return tuple(binding.get(term, term) for term in atom)


def _with_path(node: Node, path: list[Fact]) -> Node:
    """``node`` with ``path`` added; a leaf is reached already and stays one."""
    if node is None or not path:
        return None
    node[path[0]] = _with_path(node.get(path[0], {}), path[1:])
    return node


def _holds(node: Node, facts: Collection[Fact]) -> bool:
    if node is None:
        return True
    return any(fact in facts and _holds(rest, facts) for fact, rest in node.items())
