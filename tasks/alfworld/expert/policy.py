"""A handcoded expert that knows only what an agent has seen, and where objects lie in the training games.

It serves as the teacher of trained agents. It searches receptacles in the order of how often the wanted object lay in
one of their kind, lowest number first, carries the object to the appliance and to its target, and is a function of the
transcript, so it can take over any episode at any step.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mixroute import MixrouteError, Observation, Turn
from tasks.alfworld.dialect import Dialect
from tasks.alfworld.expert.priors import Priors
from tasks.alfworld.expert.transcript import Known, kind_of, read

_APPLIANCES = {"clean": "sinkbasin", "heat": "microwave", "cool": "fridge"}
_LAMP = "desklamp"
_STATES = {"clean": "clean", "hot": "heat", "cool": "cool"}
_GOALS = (
    re.compile(r"(?P<light>examine|look at)(?: the)? (?P<thing>\w+) (?:with|under) the \w+"),
    re.compile(r"(?P<verb>clean|heat|cool) some (?P<thing>\w+) and put it in (?P<target>\w+)"),
    re.compile(r"put a (?P<state>clean|hot|cool) (?P<thing>\w+) in (?P<target>\w+)"),
    re.compile(r"(?:find (?P<two>two) (?P<thing>\w+) and put them|put (?P<both>two) (?P<what>\w+)) in (?P<target>\w+)"),
    re.compile(r"put (?:a|some) (?P<thing>\w+) (?:in|on) (?P<target>\w+)"),
)


@dataclass(frozen=True, slots=True)
class ParsedGoal:
    """The goal of a game by kinds of objects; ``target`` is empty for goals to examine an object in light."""

    thing: str
    target: str = ""
    verb: str = ""
    count: int = 1


def parse_goal(task: str) -> ParsedGoal:
    """Parse a goal sentence.

    Raises:
        MixrouteError: the sentence is not of a known form.
    """
    sentence = task.strip().removeprefix("Your task is to: ").rstrip(".")
    for form in _GOALS:
        if found := form.fullmatch(sentence):
            parts = found.groupdict()
            return ParsedGoal(
                thing=parts.get("thing") or parts["what"],
                target=parts.get("target") or "",
                verb=parts.get("verb") or _STATES.get(parts.get("state") or "", ""),
                count=2 if parts.get("two") or parts.get("both") else 1,
            )
    raise MixrouteError(f"the expert does not know the goal '{task}'")


class Expert:
    """The player.

    Args:
        priors: How often each kind of object lay in each kind of receptacle.
        dialect: Wording of the commands.
    """

    def __init__(self, priors: Priors, dialect: Dialect) -> None:
        self._priors = priors
        self._put_command = dialect.put_command

    def act(self, turns: Sequence[Turn], observation: Observation) -> str:
        """The command to give after ``turns``, now that ``observation`` is shown."""
        known = read(turns, observation)
        return next((command for command in self._wishes(known) if command not in known.failed), "look")

    def _wishes(self, known: Known) -> Iterator[str]:
        """Commands in the order in which they would be given, if those before them have failed here."""
        goal = parse_goal(known.task)
        if known.held and kind_of(known.held) != goal.thing:
            yield from self._put_down(known)
        if known.held:
            yield from self._deliver(known, goal)
        else:
            for place in self._places_of(known, goal):
                yield from self._reach(known, place)
                for thing in known.contents.get(place, ()):
                    if kind_of(thing) == goal.thing:
                        yield f"take {thing} from {place}"
        wanted = _LAMP if known.held else goal.thing
        yield from self._search(known, wanted, goal)

    def _put_down(self, known: Known) -> Iterator[str]:
        origin = known.origin.get(known.held, "")
        for place in [origin, *sorted(known.here), *sorted(known.contents, key=_by_number)]:
            if place:
                yield from self._reach(known, place)
                yield self._put_command.format(o=known.held, r=place)

    def _deliver(self, known: Known, goal: ParsedGoal) -> Iterator[str]:
        if not goal.target:
            for place, things in known.contents.items():
                for lamp in things:
                    if kind_of(lamp) == _LAMP:
                        yield from self._reach(known, place)
                        yield f"use {lamp}"
            return
        if goal.verb and (goal.verb, known.held) not in known.treated:
            for appliance in _of_kind(known, _APPLIANCES[goal.verb]):
                yield from self._reach(known, appliance, inside=False)
                yield f"{goal.verb} {known.held} with {appliance}"
        for place in _of_kind(known, goal.target):
            yield from self._reach(known, place)
            yield self._put_command.format(o=known.held, r=place)

    def _places_of(self, known: Known, goal: ParsedGoal) -> list[str]:
        """Places where objects that are still wanted were seen; objects at the target stay there."""
        targets = _of_kind(known, goal.target)
        places = []
        for place, things in known.contents.items():
            for thing in things:
                done = place in targets[:1] if goal.count == 2 else place in targets
                if goal.verb and (goal.verb, thing) not in known.treated:
                    done = False
                if kind_of(thing) == goal.thing and not done:
                    places.append(place)
        return sorted(places, key=lambda place: (place not in known.here, _by_number(place)))

    def _search(self, known: Known, wanted: str, goal: ParsedGoal) -> Iterator[str]:
        def order(place: str) -> tuple[bool, float, tuple[str, int]]:
            # Where things are only to be put, those that are there already would have won the game.
            pointless = kind_of(place) == goal.target and not goal.verb
            return pointless, -self._priors.rate(wanted, kind_of(place)), _by_number(place)

        for place in sorted(known.receptacles, key=order):
            if place not in known.contents:
                yield from self._reach(known, place)

    def _reach(self, known: Known, place: str, *, inside: bool = True) -> Iterator[str]:
        """Get to ``place`` and, where ``inside`` is needed, open it."""
        if place not in known.here:
            yield f"go to {place}"
            yield f"examine {place}"  # a place that shares the present location cannot be gone to
        elif inside and place in known.closed:
            yield f"open {place}"


def _by_number(name: str) -> tuple[str, int]:
    kind, _, number = name.rpartition(" ")
    return kind, int(number) if number.isdecimal() else 0


def _of_kind(known: Known, kind: str) -> list[str]:
    return sorted((place for place in known.receptacles if kind_of(place) == kind), key=_by_number)
