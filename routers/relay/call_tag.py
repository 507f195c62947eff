"""The tag with which the small model calls the large one: ``<call>n</call>`` for n tokens.

``</call>`` is a stop string of the small model, so its text never holds one. The text from an opening tag to the end is
addressed to the router, whether it is a valid call or not. A reader of the trace can apply the same rule (see
``harness.data.join``).
"""

from __future__ import annotations

import re

OPEN, CLOSE = "<call>", "</call>"

_NUMBER = re.compile(r"[ \t]*([0-9]{1,9})[ \t]*")


def call_tag(tokens: int) -> str:
    """The tag that calls for ``tokens`` tokens."""
    return f"{OPEN}{tokens}{CLOSE}"


def requested_tokens(content: str) -> int:
    """Number of tokens that the content of a tag asks for; 0 unless it is a number of up to nine digits."""
    found = _NUMBER.fullmatch(content)
    return int(found[1]) if found else 0
