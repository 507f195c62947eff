"""Goals of games, and planned commands with what they are for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from mixroute import MixrouteError

LAMP = "desklamp"
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


class Aim(Enum):
    """What a command serves."""

    PUT_DOWN = "to be rid of an object that the goal does not ask for"
    TREAT = "to clean, heat or cool the held object"
    PLACE = "to put the held object where it goes"
    LIGHT = "to turn on the lamp"
    FETCH = "to take an object that was seen"
    SEARCH = "to look into a place for the first time"
    LOOK = "to do something where nothing else is left"


@dataclass(frozen=True, slots=True)
class Planned:
    """A command that the expert would give.

    Attributes:
        command: Command to give.
        aim: What it serves.
        place: Receptacle at which the aim is reached; empty for ``LOOK``.
        thing: Object that the aim is about; its kind for ``SEARCH``.
    """

    command: str
    aim: Aim
    place: str = ""
    thing: str = ""


def planned(aim: Aim, place: str, thing: str, *commands: str) -> Iterator[Planned]:
    """Commands of one aim, in order."""
    return (Planned(command, aim, place, thing) for command in commands)
