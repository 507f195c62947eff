r"""Which of the tokens that an endpoint lists make the text of its answer.

An endpoint may list what is no part of the text: thoughts before it, the end of the turn behind it. Tokens may be
parts of a character, and come as bytes, in the form ``bytes:\xc3``, or as the replacement character.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
_MOST_UNKNOWN = 256
"""Most replacement characters among the tokens; more are not aligned."""
_ESCAPED = re.compile(r"bytes:((\\x[0-9a-fA-F]{2})+)")
_RAW = str.maketrans({"\u2581": " ", "\u0120": " ", "\u010a": "\n"})
"""How vocabularies write a space (SentencePiece, byte-level) and a line break, where a server passes that on."""


@dataclass(frozen=True, slots=True)
class ListedToken:
    """A token as an endpoint lists it."""

    text: str
    raw: bytes | None = None
    """Its bytes, where the endpoint gives them."""


def token_texts(tokens: Sequence[ListedToken]) -> list[str]:
    """Texts of tokens; a character of several tokens is the text of the last of them, the others have none."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    texts = []
    for token in tokens:
        raw = token.raw
        if raw is None and (escaped := _ESCAPED.fullmatch(token.text)):
            raw = bytes.fromhex(escaped[1].replace("\\x", ""))
        if raw is None:
            decoder.reset()
            texts.append(token.text)
        else:
            texts.append(decoder.decode(raw))
    return texts


def find_text(tokens: Sequence[ListedToken], text: str, beginning: str) -> tuple[int, int] | None:
    """Where the tokens of the beginning of ``text`` begin and end, or None if the tokens do not hold the text.

    Of several places the last counts: thoughts, which come before the answer, may quote it. White space at the start of
    the answer's first token may have been cut off.

    Args:
        tokens: All listed tokens.
        text: Of the answer; not empty.
        beginning: What ``text`` begins with, such as all of it up to a stop string.
    """
    texts = token_texts(tokens)
    if sum(one.count(UNKNOWN) for one in texts) > _MOST_UNKNOWN:
        return None
    for written in (texts, [one.translate(_RAW) for one in texts]):
        for start in reversed(range(len(written))):
            for cut in (False, True):
                if written[start] and _end_of(written, start, text, cut=cut) is not None:
                    end = _end_of(written, start, beginning, cut=cut) if beginning else start
                    return _with_first_bytes(written, start), end or start
    return None


def _with_first_bytes(texts: Sequence[str], start: int) -> int:
    """``start``, or the token before it that begins the same character."""
    partial = texts[start].startswith(UNKNOWN)
    while start and (not texts[start - 1] or (partial and not texts[start - 1].strip(UNKNOWN))):
        start -= 1
    return start


def _end_of(texts: Sequence[str], start: int, text: str, *, cut: bool) -> int | None:
    """Number of the token after those of ``text``, if these begin at ``start``."""
    first = texts[start].lstrip() if cut else texts[start]
    reached = {0}
    for place in range(start, len(texts)):
        piece = first if place == start else texts[place]
        reached = _advance(reached, text, piece)
        if len(text) in reached:
            after = place + 1
            while after < len(texts) and texts[after] and not texts[after].strip(UNKNOWN):
                after += 1  # the rest of the text's last character
            return after
        if not reached:
            return None
    return None


def _advance(reached: set[int], text: str, piece: str) -> set[int]:
    """Places in ``text`` after ``piece``; the end of the text may lie within the piece."""
    for number, part in enumerate(piece.split(UNKNOWN)):
        if number:  # a part of a character, or the whole of it
            reached = {place + step for place in reached for step in (0, 1) if place + step <= len(text)}
        reached = {
            min(place + len(part), len(text))
            for place in reached
            if text.startswith(part, place) or (place < len(text) and part.startswith(text[place:]))
        }
    return reached
