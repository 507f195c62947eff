"""Extraction of final answers, so that answers can vote. A router does not know how its task grades, so these rules
cover the usual ways to mark a final answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_HASHES = re.compile(r"####[ \t]*(\S[^\n]*)")
_BOXED = re.compile(r"\\boxed\s*\{")
_STATED = re.compile(r"\banswer(?:\s+is\b:?|:)", re.IGNORECASE)
_SENTENCE = re.compile(r"\.\s|\n")
_NUMBER = re.compile(r"(-?)\$?(\d[\d,]*(?:\.\d+)?|\.\d+)%?")


def votes(texts: Sequence[str]) -> list[str | None]:
    """The vote of each text; None for a text without a vote.

    If some text marks its final answer, the texts that mark none have no vote: they were cut off or went wrong. If no
    text marks one, complete texts are the votes (actions of an agent, programs), except empty ones.
    """
    marked = [final_answer(text) for text in texts]
    if any(vote is not None for vote in marked):
        return marked
    return [" ".join(text.split()) or None for text in texts]


def final_answer(text: str) -> str | None:
    r"""The final answer that a text marks, normalized so that equal numbers are equal strings; None if it marks none.

    Searched in this order: after the first ``####`` (GSM8K, ``arith-gen``), in the last ``\boxed{}``, after the last
    "answer is" or "answer:".
    """
    if found := _HASHES.search(text):
        return _plain(found[1])
    if starts := list(_BOXED.finditer(text)):
        return _plain(_braced(text, starts[-1].end()))
    stated = list(_STATED.finditer(text))
    return _plain(_SENTENCE.split(text[stated[-1].end() :].lstrip())[0]) if stated else None


def _braced(text: str, start: int) -> str:
    """The text from ``start`` to the closing brace, or to the end."""
    depth = 1
    for place in range(start, len(text)):
        depth += (text[place] == "{") - (text[place] == "}")
        if not depth:
            return text[start:place]
    return text[start:]


def _plain(answer: str) -> str | None:
    """Remove marks of money, mathematics and emphasis; from numbers also separators and trailing zeros of decimals."""
    bare = " ".join(answer.split()).strip("*$ ").removeprefix("\\(").removesuffix("\\)").rstrip(".").strip("*$ ")
    number = _NUMBER.fullmatch(bare)
    if not number:
        return bare or None
    integer, _, decimals = number[2].replace(",", "").partition(".")
    decimals = decimals.rstrip("0")
    digits = (integer.lstrip("0") or "0") + (f".{decimals}" if decimals else "")
    return digits if digits == "0" else number[1] + digits
