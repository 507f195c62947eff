"""Text -> terms, as Lucene's English analysis does it: words of UAX #29, no ``'s``, no stop words, Porter stems.

Lucene has the Unicode tables of version 12. They differ from those of the ``regex`` package in two ways that matter: a
colon joins letters, and many more pictures are words of their own. A missed picture changes a document's length, and
with it the ranks of other documents too.
"""

from __future__ import annotations

import re

import regex

from tasks.webshop.porter import stem

_STOP_WORDS = """
    a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to
    was will with
"""

STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Lucene's 33 English stop words."""

_LONGEST = 255
"""Characters; Lucene cuts longer words into pieces of this length."""

_KNOWN = 300_000
"""Most words whose terms are remembered; a full catalogue has millions of different ones."""

# Plain text, which is nearly all there is: the same rules as below, several times as fast.
_PLAIN = re.compile(r"_*(?:(?:[a-z](?:[:.']?[a-z])*|[0-9](?:[,;.']?[0-9])*)+_*)+", re.ASCII | re.IGNORECASE)

_PICTURES = """
    a9 ae 203c 2049 2122 2139 2194-2199 21a9-21aa 231a-231b 2328 2388 23cf 23e9-23f3 23f8-23fa 24c2 25aa-25ab 25b6 25c0
    25fb-25fe 2600-2605 2607-2612 2614-2685 2690-2705 2708-2712 2714 2716 271d 2721 2728 2733-2734 2744 2747 274c 274e
    2753-2755 2757 2763-2767 2795-2797 27a1 27b0 27bf 2934-2935 2b05-2b07 2b1b-2b1c 2b50 2b55 3030 303d 3297 3299
    1f000-1f0ff 1f10d-1f10f 1f12f 1f16c-1f171 1f17e-1f17f 1f18e 1f191-1f19a 1f1ad-1f1e5 1f201-1f20f 1f21a 1f22f
    1f232-1f23a 1f23c-1f23f 1f249-1f3fa 1f400-1f53d 1f546-1f64f 1f680-1f6ff 1f774-1f77f 1f7d5-1f7ff 1f80c-1f80f
    1f848-1f84f 1f85a-1f85f 1f888-1f88f 1f8ae-1f8ff 1f90c-1f93a 1f93c-1f945 1f947-1fffd
"""
"""Extended_Pictographic in Unicode 12: code points in hexadecimal."""


def _word_pattern() -> regex.Pattern[str]:
    tail = r"[\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}]*"
    letter = rf"[\p{{WB=ALetter}}\p{{WB=Hebrew_Letter}}]{tail}"
    digit = rf"\p{{WB=Numeric}}{tail}"
    katakana = rf"\p{{WB=Katakana}}{tail}"
    joiner = rf"(?:\p{{WB=ExtendNumLet}}{tail})*"
    in_word = rf"(?:[\p{{WB=MidLetter}}:\p{{WB=MidNumLet}}']{tail})?"
    in_number = rf"(?:[\p{{WB=MidNum}}\p{{WB=MidNumLet}}']{tail})?"
    letters = rf"{letter}(?:{in_word}{letter})*"
    digits = rf"{digit}(?:{in_number}{digit})*"
    word = rf"{joiner}(?:(?:(?:{letters}|{digits})+|(?:{katakana})+){joiner})+"
    spans = [[chr(int(end, 16)) for end in span.split("-")] for span in _PICTURES.split()]
    picture = rf"[{''.join('-'.join(span) for span in spans)}]{tail}"
    pictures = rf"{picture}(?:(?<=\u200d){picture})*|(?:\p{{Regional_Indicator}}{tail}){{2}}|[#*]\uFE0F?\u20E3"
    # Chinese characters and Hiragana count one by one, the scripts of South-East Asia by the run.
    return regex.compile(rf"{word}|{pictures}|[\p{{Script=Han}}\p{{Script=Hiragana}}]{tail}|\p{{LB=Complex_Context}}+")


_WORD = _word_pattern()


class _Terms(dict[str, str]):
    """Word -> term, worked out when first asked for; empty for stop words."""

    def __missing__(self, word: str) -> str:
        if len(self) >= _KNOWN:
            self.clear()
        plain = word.lower()
        if plain.endswith("s") and plain[-2:-1] in ("'", "\u2019", "\uff07"):
            plain = plain[:-2]
        term = "" if plain in STOP_WORDS else stem(plain)
        self[word] = term
        return term


_terms = _Terms()


def words(text: str) -> list[str]:
    """The words of ``text`` by the boundaries of UAX #29, pictures included, without punctuation and spaces."""
    found: list[str] = _PLAIN.findall(text) if text.isascii() else _WORD.findall(text)
    if len(text) <= _LONGEST or max(map(len, found), default=0) <= _LONGEST:
        return found
    return [word[start : start + _LONGEST] for word in found for start in range(0, len(word), _LONGEST)]


def terms(text: str) -> list[str]:
    """The terms of ``text`` in order, repeats included, for documents and queries alike."""
    return [term for word in words(text) if (term := _terms[word])]
