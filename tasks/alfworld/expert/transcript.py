"""Knowledge that an agent may have of a game from its observations and actions so far."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from mixroute import Observation, Turn
from tasks.alfworld.texts import NOTHING_HAPPENS

_ROOM = re.compile(r"Looking quickly around you, you see (.+)\.")
_SEEN = re.compile(r"(?:On the ([^,.]+), you see|The ([^,.]+) is open\. In it, you see) ([^.]+)\.")
_CLOSED = re.compile(r"The ([^,.]+) is closed\.")
_ARTICLE = re.compile(r"\ba (\S+ \d+)")
_GO = re.compile(r"go to (.+)")
_TAKE = re.compile(r"take (.+) from (.+)")
_PUT = re.compile(r"(?:move (.+) to|put (.+) in/on) (.+)")
_TREAT = re.compile(r"(clean|heat|cool) (.+) with .+")

_UNDOES = {"heat": "cool", "cool": "heat"}


def kind_of(name: str) -> str:
    """``cabinet`` of ``cabinet 12``."""
    return name.rpartition(" ")[0]


def by_number(name: str) -> tuple[str, int]:
    """Sort key: ``cabinet 2`` comes before ``cabinet 12``."""
    kind, _, number = name.rpartition(" ")
    return kind, int(number) if number.isdecimal() else 0


@dataclass(slots=True)
class Known:
    """The state of a game as far as an agent has seen it. Names are display names, such as ``cabinet 12``."""

    task: str = ""
    """The goal sentence."""
    receptacles: list[str] = field(default_factory=list)
    contents: dict[str, list[str]] = field(default_factory=dict)
    """Objects in each receptacle that was looked into."""
    closed: set[str] = field(default_factory=set)
    here: set[str] = field(default_factory=set)
    """Receptacles known to be within reach."""
    held: str = ""
    origin: dict[str, str] = field(default_factory=dict)
    """Receptacle that each object was taken from."""
    treated: set[tuple[str, str]] = field(default_factory=set)
    """(verb, object) of what was cleaned, heated and cooled."""
    used: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    """Commands that were answered "Nothing happens." since anything last changed."""
    searched: list[str] = field(default_factory=list)
    """Receptacles that were looked into, in the order of the first look."""
    last: str = ""
    """The command before this observation."""
    gone_back: bool = False
    """Whether that command went to a receptacle that had been looked into."""

    def _read(self, observation: str) -> None:
        for on, inside, listed in _SEEN.findall(observation):
            if (on or inside) not in self.searched:
                self.searched.append(on or inside)
            self.contents[on or inside] = _ARTICLE.findall(listed)
            self.closed.discard(on or inside)
        self.closed.update(_CLOSED.findall(observation))

    def _apply(self, command: str, answer: str) -> None:
        self.last = command
        gone = _GO.fullmatch(command)
        self.gone_back = gone is not None and gone[1] in self.searched
        if answer.strip() == NOTHING_HAPPENS:
            self.failed.add(command)
            return
        self._read(answer)
        if gone:
            self.here = {gone[1]}
        elif found := _TAKE.fullmatch(command):
            self.held = found[1]
            self.origin[found[1]] = found[2]
            for things in self.contents.values():
                if found[1] in things:
                    things.remove(found[1])
        elif found := _PUT.fullmatch(command):
            self.held = ""
            self.contents.setdefault(found[3], []).append(found[1] or found[2])
        elif found := _TREAT.fullmatch(command):
            self.treated.add((found[1], found[2]))
            if found[1] in _UNDOES:
                self.treated.discard((_UNDOES[found[1]], found[2]))
        elif command.startswith("close "):
            self.closed.add(command.removeprefix("close "))
        elif command.startswith("use "):
            self.used.add(command.removeprefix("use "))
        elif command.removeprefix("examine ") in self.receptacles:
            self.here.add(command.removeprefix("examine "))
        else:
            return  # nothing has changed
        self.failed.clear()


def of_kind(known: Known, kind: str) -> list[str]:
    """The receptacles of a kind, by number."""
    return sorted((place for place in known.receptacles if kind_of(place) == kind), key=by_number)


def read(turns: Sequence[Turn], observation: Observation) -> Known:
    """Knowledge after ``turns`` and ``observation``."""
    observations = [*(turn.observation.text for turn in turns), observation.text]
    opening = observations[0]
    room = _ROOM.search(opening)
    known = Known(task=opening.strip().rpartition("\n")[2])
    known.receptacles = _ARTICLE.findall(room[1]) if room else []
    for turn, answer in zip(turns, observations[1:], strict=True):
        known._apply(turn.action, answer)
    return known
