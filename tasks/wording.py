"""English of the experts' thoughts: lists, plurals and articles, on one line that no tag can be read into."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from harness.text import one_line


def thought(sentences: Iterable[str]) -> str:
    """Sentences as one thought: each begins with a capital, empty ones are left out, ``<`` and ``>`` are removed."""
    text = " ".join(sentence[:1].upper() + sentence[1:] for sentence in sentences if sentence)
    return one_line(text.replace("<", "").replace(">", ""))


def listed(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def a(noun: str) -> str:
    """A noun with its article."""
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"


def plural(noun: str) -> str:
    """The plural of a noun."""
    if noun.endswith(("knife", "shelf")):
        return noun.rstrip("e")[:-1] + "ves"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh", "tato", "mato")) else "s")


def numbers(found: Iterable[int]) -> str:
    """Numbers with runs joined: ``1 to 3 and 5``."""
    ordered = sorted(set(found))
    runs = [[number, number] for number in ordered[:1]]
    for before, number in pairwise(ordered):
        if number == before + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return listed([str(first) if first == last else f"{first} to {last}" for first, last in runs])
