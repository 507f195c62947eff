"""Lists with commas, whose items may hold commas within brackets, braces and quotes."""

from __future__ import annotations

from collections import deque

_CLOSING = {"[": "]", "{": "}"}


def split_at_commas(text: str) -> list[str]:
    """The parts between commas that stand outside brackets, braces and quotes."""
    parts: list[str] = []
    open_: list[str] = []
    part = quote = ""
    previous = ","
    characters = deque(text)
    while characters:
        char = characters.popleft()
        if quote:
            if characters and ((char == "\\" and quote == '"') or (char == quote == "'" == characters[0])):
                char += characters.popleft()  # an escaped character, a quote within quotes
            elif char == quote:
                quote = ""
        elif char in "\"'" and previous in "=,[{:":  # elsewhere it is an apostrophe
            quote = char
        elif char in _CLOSING and (open_ or previous == "="):
            open_.append(_CLOSING[char])
        elif open_ and char == open_[-1]:
            open_.pop()
        if char == "," and not quote and not open_:
            parts.append(part)
            part = ""
        else:
            part += char
        previous = previous if char.isspace() else char
    return [*parts, part]
