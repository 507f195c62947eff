"""The sentences of the game, in the order of precedence in which they apply."""

from __future__ import annotations

from collections.abc import Collection, Sequence

BANNER = "-= Welcome to TextWorld, ALFRED! =-\n\n"
NOTHING_HAPPENS = "Nothing happens."
HELP = """Available commands:
  look:                             look around your current location
  inventory:                        check your current inventory
  go to (receptacle):               move to a receptacle
  open (receptacle):                open a receptacle
  close (receptacle):               close a receptacle
  take (object) from (receptacle):  take an object from a receptacle
  move (object) to (receptacle):  place an object in or on a receptacle
  examine (something):              examine a receptacle or an object
  use (object):                     use an object
  heat (object) with (receptacle):  heat an object using a receptacle
  clean (object) with (receptacle): clean an object using a receptacle
  cool (object) with (receptacle):  cool an object using a receptacle
  slice (object) with (object):     slice an object using a sharp object
"""

_EXAMINED = (
    (frozenset({"isclean", "ishot", "issliced"}), "This is a hot and clean sliced {}."),
    (frozenset({"isclean", "iscool", "issliced"}), "This is a cool and clean sliced {}."),
    (frozenset({"isclean", "issliced"}), "This is a clean sliced {}."),
    (frozenset({"ishot", "issliced"}), "This is a hot sliced {}."),
    (frozenset({"iscool", "issliced"}), "This is a cool sliced {}."),
    (frozenset({"isclean", "ishot"}), "This is a hot and clean {}."),
    (frozenset({"isclean", "iscool"}), "This is a cool and clean {}."),
    (frozenset({"ishot"}), "This is a hot {}."),
    (frozenset({"isclean"}), "This is a clean {}."),
    (frozenset({"iscool"}), "This is a cold {}."),
    (frozenset({"toggleable", "istoggled"}), "This {} is on."),
    (frozenset({"sliceable", "issliced"}), "This is a sliced {}."),
)


def listing(items: Sequence[str]) -> str:
    """``a``, ``a, and b``, ``a, b, and c``, or ``nothing``."""
    if not items:
        return "nothing"
    if len(items) == 1:
        return items[0]
    return f"{', '.join(items[:-1])}, and {items[-1]}"


def examined(name: str, properties: Collection[str]) -> str:
    """The answer to examining the object ``name`` with these properties (predicates that are true of it)."""
    for needed, sentence in _EXAMINED:
        if needed.issubset(properties):
            return sentence.format(name)
    return f"There's nothing special about {name}."
