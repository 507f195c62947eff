"""Display names: ``sink_bar__minus_01_dot_39_bar__plus_00_dot_98_bar_sinkbasin`` is shown as ``sinkbasin 1``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


def kind_of(identifier: str) -> str:
    """The kind shown for an identifier: what stands before the first ``_bar_``, plus ``basin`` where the id has it."""
    head, bar, _ = identifier.partition("_bar_")
    return f"{head}basin" if bar and "basin" in identifier else head


def display_names(identifiers: Iterable[str]) -> dict[str, str]:
    """Number the entities of each kind, counting down over their sorted identifiers.

    An identifier without ``_bar_`` gets no number but keeps the separating space, as in the original.
    """
    ordered = sorted(set(identifiers))
    left = Counter(kind_of(identifier) for identifier in ordered if "_bar_" in identifier)
    names = {}
    for identifier in ordered:
        kind = kind_of(identifier)
        if "_bar_" in identifier:
            names[identifier] = f"{kind} {left[kind]}"
            left[kind] -= 1
        else:
            names[identifier] = f"{kind} "
    return names
