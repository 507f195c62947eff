"""What an answer comes to, so that answers can vote. A router does not know how its task grades: these are rules of its
own, for the ways in which final answers are usually marked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_HASHES = re.compile(r"####[ \t]*(\S[^\n]*)")
_BOXED = re.compile(r"\\boxed\s*\{")
_TOLD = re.compile(r"\banswer(?:\s+is\b:?|:)", re.IGNORECASE)
_SENTENCE = re.compile(r"\.\s|\n")
_NUMBER = re.compile(r"(-?)\$?(\d[\d,]*(?:\.\d+)?|\.\d+)%?")


def votes(texts: Sequence[str]) -> list[str | None]:
    """What each text votes for; None for one that has no vote.

    As soon as one of them marks its final answer, those that do not have none: they were cut off, or lost the thread.
    Where nobody marks any, whole texts vote (actions of an agent, programs), except empty ones.
    """
    marked = [final_answer(text) for text in texts]
    if any(vote is not None for vote in marked):
        return marked
    return [" ".join(text.split()) or None for text in texts]


def final_answer(text: str) -> str | None:
    r"""The final answer that a text marks, so written that equal numbers are equal strings; None where it marks none.

    In this order: after the first ``####`` (GSM8K, ``arith-gen``), in the last ``\boxed{}``, after the last
    "answer is" or "answer:".
    """
    if found := _HASHES.search(text):
        return _plain(found[1])
    if starts := list(_BOXED.finditer(text)):
        return _plain(_braced(text, starts[-1].end()))
    told = list(_TOLD.finditer(text))
    return _plain(_SENTENCE.split(text[told[-1].end() :].lstrip())[0]) if told else None


def _braced(text: str, start: int) -> str:
    """From ``start`` to the brace that closes, or to the end."""
    depth = 1
    for place in range(start, len(text)):
        depth += (text[place] == "{") - (text[place] == "}")
        if not depth:
            return text[start:place]
    return text[start:]


def _plain(answer: str) -> str | None:
    """Without marks of money, mathematics or emphasis around it, and numbers without separators and empty decimals."""
    bare = " ".join(answer.split()).strip("*$ ").removeprefix("\\(").removesuffix("\\)").rstrip(".").strip("*$ ")
    number = _NUMBER.fullmatch(bare)
    if not number:
        return bare or None
    whole, _, decimals = number[2].replace(",", "").partition(".")
    decimals = decimals.rstrip("0")
    digits = (whole.lstrip("0") or "0") + (f".{decimals}" if decimals else "")
    return digits if digits == "0" else number[1] + digits
