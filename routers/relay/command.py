"""The command by which the small model calls the large one: ``<call>n</call>`` for n tokens.

``</call>`` is a stop string of the small model, so its text never holds one: from an opening mark to its end a text is
said to the router, be it a command or not. That is a rule that a reader of the trace can apply (``delimiter``
of ``harness.data.join``).
"""

from __future__ import annotations

import re

OPEN, CLOSE = "<call>", "</call>"

_NUMBER = re.compile(r"[ \t]*([0-9]{1,9})[ \t]*")


def command(tokens: int) -> str:
    """The command for so many tokens."""
    return f"{OPEN}{tokens}{CLOSE}"


def asked_for(said: str) -> int:
    """How many tokens are asked for by what stands between the marks; 0 where it is no number of up to nine digits."""
    found = _NUMBER.fullmatch(said)
    return int(found[1]) if found else 0
