"""Porter's stemmer with Martin Porter's own later changes, which is the one that Lucene ships.

Snowball's ``porter`` is the algorithm as published in 1980 and stems ``assembly`` otherwise. NLTK's, with Martin's
extensions, gives the same stems as this one on all words of the small catalogue, but takes a second to import.

Source: M. F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980, with the changes ``bli`` -> ``ble`` and
``logi`` -> ``log`` that he describes at https://tartarus.org/martin/PorterStemmer/.
"""

from __future__ import annotations

# Longer endings stand before those that they end in: the first one found is the only one tried.
_STEP_2 = (
    ("ational", "ate"), ("tional", "tion"), ("enci", "ence"), ("anci", "ance"), ("izer", "ize"), ("bli", "ble"),
    ("alli", "al"), ("entli", "ent"), ("eli", "e"), ("ousli", "ous"), ("ization", "ize"), ("ation", "ate"),
    ("ator", "ate"), ("alism", "al"), ("iveness", "ive"), ("fulness", "ful"), ("ousness", "ous"), ("aliti", "al"),
    ("iviti", "ive"), ("biliti", "ble"), ("logi", "log"),
)  # fmt: skip
_STEP_3 = (
    ("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", ""),
)  # fmt: skip
_STEP_4 = (
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism", "ate", "iti",
    "ous", "ive", "ize",
)  # fmt: skip


def stem(word: str) -> str:
    """The stem of a lower-case word; words of one or two characters are their own."""
    if len(word) < 3:
        return word
    word = _tidy(_verb_endings(_plural(word)))
    word = _replace(_replace(word, _STEP_2, 0), _STEP_3, 0)
    return _final_e(_strip(word))


def _shape(word: str) -> str:
    """``v`` for each vowel and ``c`` for each consonant; ``y`` is a vowel after a consonant."""
    shape = ""
    for letter in word:
        vowel = letter in "aeiou" or (letter == "y" and shape.endswith("c"))
        shape += "v" if vowel else "c"
    return shape


def _measure(word: str) -> int:
    """Porter's m: how often a consonant follows a vowel."""
    return _shape(word).count("vc")


def _doubled(word: str) -> bool:
    return len(word) > 1 and word[-1] == word[-2] and _shape(word)[-1] == "c"


def _short(word: str) -> bool:
    """Consonant, vowel, consonant other than w, x, y at the end, as in ``hop``."""
    return _shape(word).endswith("cvc") and word[-1] not in "wxy"


def _plural(word: str) -> str:
    if word.endswith(("sses", "ies")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _verb_endings(word: str) -> str:
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    for ending in ("ed", "ing"):
        if word.endswith(ending):
            kept = word[: -len(ending)]
            return _mended(kept) if "v" in _shape(kept) else word
    return word


def _mended(word: str) -> str:
    """Restore the word after a verb ending was removed: ``hopp`` -> ``hop``, ``fil`` -> ``file``."""
    if word.endswith(("at", "bl", "iz")):
        return word + "e"
    if _doubled(word):
        return word if word[-1] in "lsz" else word[:-1]
    return word + "e" if _measure(word) == 1 and _short(word) else word


def _tidy(word: str) -> str:
    return word[:-1] + "i" if word.endswith("y") and "v" in _shape(word[:-1]) else word


def _replace(word: str, endings: tuple[tuple[str, str], ...], above: int) -> str:
    for ending, other in endings:
        if word.endswith(ending):
            kept = word[: -len(ending)]
            return kept + other if _measure(kept) > above else word
    return word


def _strip(word: str) -> str:
    for ending in _STEP_4:
        if word.endswith(ending):
            kept = word[: -len(ending)]
            if ending == "ion" and not kept.endswith(("s", "t")):
                return word
            return kept if _measure(kept) > 1 else word
    return word


def _final_e(word: str) -> str:
    if word.endswith("e"):
        measure = _measure(word[:-1])
        if measure > 1 or (measure == 1 and not _short(word[:-1])):
            word = word[:-1]
    return word[:-1] if word.endswith("ll") and _measure(word) > 1 else word
