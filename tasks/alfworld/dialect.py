"""The two wordings in use: 0.4 is that of the game files of release 0.4, 0.3 that of papers before 2025.

The differences are those that the original project's own conversion of its game files (2.1.1 to 2.1.2) makes: the put
command and its answer, the arrival sentence, and the ``help`` command, which 0.3 does not have.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mixroute import MixrouteError


@dataclass(frozen=True, slots=True)
class Dialect:
    """Wording of the commands and answers that differ. Templates take display names: ``o``bject, ``r``eceptacle."""

    name: str
    put_command: str
    put_feedback: str
    arrival_names_location: bool
    """Whether arriving says ``loc 12`` instead of the receptacle."""
    help_command: bool


DIALECTS = {
    "0.4": Dialect("0.4", "move {o} to {r}", "You move the {o} to the {r}.", False, True),
    "0.3": Dialect("0.3", "put {o} in/on {r}", "You put the {o} in/on the {r}.", True, False),
}

_MOVE = re.compile(r"move (.+?) to (.+)")
_PUT = re.compile(r"put (.+?) in/on (.+)")


def get_dialect(name: str) -> Dialect:
    """The dialect called ``name``.

    Raises:
        MixrouteError: unknown name.
    """
    if name not in DIALECTS:
        raise MixrouteError(f"unknown ALFWorld dialect '{name}': use one of {', '.join(map(repr, DIALECTS))}")
    return DIALECTS[name]


def translate(command: str, dialect: str) -> str:
    """``command`` in the words of ``dialect``; commands that both dialects share are returned as they are."""
    found = _MOVE.fullmatch(command) or _PUT.fullmatch(command)
    return get_dialect(dialect).put_command.format(o=found[1], r=found[2]) if found else command
