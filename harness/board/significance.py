"""Tests of a section's differences: each row against up to three others, corrected for all comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from harness.data import RouterRole
from harness.metrics import Estimate, holm, paired_difference
from harness.metrics.comparison import Key

KINDS = ("always-high", "matched random", "best baseline")
"""Kinds of comparison; see ``Against.kind``."""

STARS = (0.05, 0.01, 0.001)
"""P-values below which a difference gets its first, second and third star."""

MATCHED = 0.05
"""Most that the high shares of a row and of the random router that it is compared with may differ."""


class Against(msgspec.Struct, frozen=True):
    """A row's success less another's, on the episodes that both have played."""

    kind: str
    """``always-high``; ``matched random``: the router of role ``random`` with the nearest high share, no further than 5
    points away; ``best baseline``: among the routers of role ``baseline`` or ``random`` that cost no more weight bytes,
    always-high left out, the one with the best success."""
    label: str
    """The other row."""
    difference: Estimate
    p: float | None
    """P-value of the paired permutation test."""
    p_holm: float | None
    """``p`` after Holm's correction over all comparisons of the section."""

    @property
    def stars(self) -> str:
        """``*`` below 0.05, ``**`` below 0.01, ``***`` below 0.001, after correction."""
        return "" if self.p_holm is None else "*" * sum(self.p_holm < limit for limit in STARS)


class ComparisonInput(msgspec.Struct, frozen=True):
    """The part of a row that comparisons need."""

    label: str
    role: RouterRole
    end: Literal["high", "low", ""]
    """The model that answers every step, for the two rows that all others lie between."""
    compared: bool
    """Whether it is compared with other rows, and they with it."""
    high_share: float | None
    cost: float | None
    """Weight bytes of an episode."""
    mean: float | None
    success: Mapping[Key, float]
    """Keyed by instance and seed."""


def compare_section(rows: Sequence[ComparisonInput]) -> list[list[Against]]:
    """The comparisons of each row, in the order given."""
    found = [
        (index, kind, other, paired_difference(row.success, other.success))
        for index, row in enumerate(rows)
        if row.compared
        for kind, other in _others(row, rows)
    ]
    corrected = iter(holm([difference.p for *_, difference in found if difference.p is not None]))
    compared: list[list[Against]] = [[] for _ in rows]
    for index, kind, other, difference in found:
        p_holm = None if difference.p is None else next(corrected)
        compared[index].append(Against(kind, other.label, difference.difference, difference.p, p_holm))
    return compared


def _others(row: ComparisonInput, rows: Sequence[ComparisonInput]) -> list[tuple[str, ComparisonInput]]:
    """The rows that a row is compared with, each with the kind of comparison."""
    rest = [other for other in rows if other is not row and other.mean is not None and other.compared]
    found = [("always-high", other) for other in rest if other.end == "high"][:1]
    if row.high_share is not None and row.role != "random":
        near = [
            (abs(other.high_share - row.high_share), place)
            for place, other in enumerate(rest)
            if other.role == "random" and other.high_share is not None
        ]
        if near and min(near)[0] <= MATCHED:
            found.append(("matched random", rest[min(near)[1]]))
    if row.cost is not None and not row.end:
        cheaper = [
            other
            for other in rest
            if other.role in ("baseline", "random")
            and other.end != "high"
            and other.cost is not None
            and other.cost <= row.cost
        ]
        if cheaper:
            found.append(("best baseline", max(cheaper, key=lambda other: other.mean or 0.0)))
    return found
