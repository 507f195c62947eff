"""Text that models, tasks and users wrote is data: here it is made harmless for each place where it is shown."""

from __future__ import annotations

import re
import unicodedata

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "\0": "{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
}
_LIGATURES = re.compile(r"([-',])(?=\1)")
"""Characters that TeX's fonts draw as another one with the next; a NUL marks the border, which no clean text has."""
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
"""Fillers and selectors, which Unicode counts as letters or marks."""


def clean(text: str, keep: str = "") -> str:
    """``text`` on one line, without control, format (bidirectional overrides, zero-width) or unpaired characters.

    White space becomes a space, anything else of these kinds the replacement character, so that no text can move a
    terminal's cursor or hide. Characters in ``keep`` stay.
    """
    if text.isascii() and text.isprintable():
        return text

    def safe(char: str) -> str:
        if char in keep:
            return char
        if char.isspace():
            return " "
        return "\N{REPLACEMENT CHARACTER}" if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Cn", "Co") else char

    return "".join(map(safe, text))


def is_unicode(text: str) -> bool:
    """Whether ``text`` can be written: it holds no half of a surrogate pair."""
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def cut(text: str, most: int) -> str:
    """``text``, or its beginning and an ellipsis where it has more than ``most`` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def quoted(value: object, most: int = 80) -> str:
    """A value as a message quotes it: its ``repr`` on one line, of at most ``most`` characters."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, lists within lists
        text = f"a {type(value).__name__} that is too long to show"
    return cut(clean(text), most)


def one_line(error: object, most: int = 300) -> str:
    """What an error says, on one line of at most ``most`` characters."""
    return cut(clean(" ".join(str(error).split())), most)


def appearance(text: str) -> str:
    """What a reader sees of ``text``: composed, white space as one space, without characters that have no width."""
    composed = unicodedata.normalize("NFC", "".join(char for char in text if not _INVISIBLE.match(char)))
    return " ".join(
        "".join(char for char in composed if unicodedata.category(char) not in ("Cc", "Cf") or char.isspace()).split()
    )


def markdown(text: str) -> str:
    """For a cell of a Markdown table or a line of prose: no markup, no HTML, no column break, no mathematics."""
    text = clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", text)


def latex(text: str) -> str:
    """For LaTeX text: every special character as itself, and none joined with the next to another (``--``, ``?` ``)."""
    return "".join(_LATEX.get(char, char) for char in _LIGATURES.sub(r"\1\0", clean(text)))


def spreadsheet(text: str) -> str:
    """For a CSV cell: text that a spreadsheet would run as a formula gets an apostrophe before it (see OWASP)."""
    text = clean(text)
    return f"'{text}" if text.lstrip()[:1] in tuple("=+-@\uff1d\uff0b\uff0d\uff20") else text
