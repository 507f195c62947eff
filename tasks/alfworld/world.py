"""The unchanging part of a game: locations, which objects fit where, and the commands that a place always offers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tasks.alfworld.dialect import Dialect
from tasks.alfworld.goal import DYNAMIC, Goal
from tasks.alfworld.names import display_names
from tasks.alfworld.pddl import Fact, PddlError, Problem, predicates

STATIC = predicates(
    "receptacleatlocation openable isreceptacleobject inreceptacleobject receptacletype cancontain objecttype "
    "cleanable heatable coolable pickupable toggleable sliceable moveable "
    "wasinreceptacle full examined isreceptacleobjectfull"
)
"""Predicates that no action of the game changes and that a problem may state."""

_APPLIANCES = {
    "clean": ("cleanable", frozenset({"sinktype", "sinkbasintype"})),
    "heat": ("heatable", frozenset({"microwavetype"})),
    "cool": ("coolable", frozenset({"fridgetype"})),
}
_KNIVES = frozenset({"knifetype", "butterknifetype"})


class Command(NamedTuple):
    """Meaning of a command, in identifiers ('' where there is none). ``other`` is the receptacle, or slice's knife."""

    verb: str
    obj: str = ""
    other: str = ""


class World:
    """The unchanging part of a game. Entities are identifiers; ``names`` gives what the player sees.

    Sequences are sorted by identifier, the order in which the game lists things.

    Args:
        problem: The game's problem.
        dialect: Wording of commands.

    Raises:
        PddlError: the problem is not one of an ALFWorld game.
    """

    def __init__(self, problem: Problem, dialect: Dialect) -> None:
        by_predicate: dict[str, list[Fact]] = {}
        for fact in sorted(set(problem.facts)):
            if fact[0] not in STATIC and (fact[0] not in DYNAMIC or fact[0] in ("holds", "holdsany")):
                raise PddlError(f"the initial fact ({' '.join(fact)}) is not one that an ALFWorld game starts with")
            by_predicate.setdefault(fact[0], []).append(fact)
        self.dialect = dialect
        self.goal = Goal(problem)
        self.names = display_names(argument for fact in problem.facts for argument in fact[1:])
        self.initial = frozenset(fact for fact in problem.facts if fact[0] in DYNAMIC)
        """The facts at the start that actions may change."""
        self.agent, self.start = _start(by_predicate.get("atlocation", []))
        self.location: dict[str, str] = {}
        """Location of each receptacle."""
        self.receptacles_at: dict[str, list[str]] = {}
        for _, receptacle, location in by_predicate.get("receptacleatlocation", []):
            if receptacle in self.location:
                raise PddlError(f"the receptacle '{receptacle}' is at two locations")
            self.location[receptacle] = location
            self.receptacles_at.setdefault(location, []).append(receptacle)
        self.inside: dict[str, list[str]] = {}
        """For each object that holds objects: those objects."""
        for _, inner, outer in by_predicate.get("inreceptacleobject", []):
            self.inside.setdefault(outer, []).append(inner)

        def having(prop: str) -> frozenset[str]:
            return frozenset(fact[1] for fact in by_predicate.get(prop, []))

        self.openable, self.pickupable, self.toggleable = having("openable"), having("pickupable"), having("toggleable")
        self.sliceable, self.holders = having("sliceable"), having("isreceptacleobject")
        self._types: dict[str, set[str]] = {}
        for _, entity, kind in by_predicate.get("objecttype", []) + by_predicate.get("receptacletype", []):
            self._types.setdefault(entity, set()).add(kind)
        self.knives = frozenset(entity for entity, kinds in self._types.items() if kinds & _KNIVES)
        self.appliances = {
            verb: (having(prop), frozenset(r for r in self.location if self._types.get(r, set()) & kinds))
            for verb, (prop, kinds) in _APPLIANCES.items()
        }
        """For each verb, its objects and the receptacles that it needs."""
        self._can_contain = frozenset(fact[1:] for fact in by_predicate.get("cancontain", []))
        self._fixed: dict[str, dict[str, Command]] = {}

    def accepts(self, receptacle: str, obj: str) -> bool:
        """Whether ``obj`` may be put into ``receptacle``, by their types."""
        kinds = self._types.get(obj, set())
        return any((r, o) in self._can_contain for r in self._types.get(receptacle, set()) for o in kinds)

    def fixed_commands(self, location: str) -> dict[str, Command]:
        """The commands that are on offer at ``location`` whatever the state."""
        if location not in self._fixed:
            self._fixed[location] = dict(self._commands_at(location))
        return self._fixed[location]

    def _commands_at(self, location: str) -> Iterator[tuple[str, Command]]:
        for receptacle in self.receptacles_at.get(location, ()):
            yield f"examine {self.names[receptacle]}", Command("examine receptacle", other=receptacle)
        for receptacle, place in self.location.items():
            # Going where the agent stands already would change nothing, so the original never offers it.
            if place != location:
                yield f"go to {self.names[receptacle]}", Command("go", other=receptacle)
        for verb in ("help", "inventory", "look") if self.dialect.help_command else ("inventory", "look"):
            yield verb, Command(verb)


def _start(facts: list[Fact]) -> tuple[str, str]:
    if len(facts) != 1 or len(facts[0]) != 3:
        raise PddlError(f"the problem starts the agent at {len(facts)} locations instead of one")
    return facts[0][1], facts[0][2]
