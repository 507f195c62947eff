"""Which of a section's differences are more than noise: each row against three others, corrected over the section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from harness.metrics import Estimate, holm, paired_difference
from harness.metrics.comparison import Key

RANDOM = frozenset({"random", "token-random"})
"""Routers that draw: a row is compared with the one whose share is nearest."""

BASELINES = RANDOM | {
    "always-low", "first-k", "every-k", "stuck", "phase", "unlisted", "uncertainty", "token-entropy", "step-entropy"
}  # fmt: skip
"""Routers without training, against which a trained one has to hold its own; the oracles save nothing."""

KINDS = ("always-high", "matched random", "best baseline")
"""Of comparisons; see ``Against.kind``."""

MATCHED = 0.05
"""Most that the high shares of a row and of the random router that it is compared with may differ."""


class Against(msgspec.Struct, frozen=True):
    """A row's success less another's, on the episodes that both have played."""

    kind: str
    """``always-high``; ``matched random``: the random router (of steps or of tokens) of the nearest high share, no
    further than 5 points away; ``best baseline``: of the untrained routers that cost no more in weight bytes the one of
    the best success."""
    label: str
    """The other row."""
    difference: Estimate
    p: float | None
    """Of the paired permutation test."""
    p_holm: float | None
    """The same after Holm's correction over all comparisons of the section."""

    @property
    def stars(self) -> str:
        """``*`` below 0.05, ``**`` below 0.01, ``***`` below 0.001, after correction."""
        return "" if self.p_holm is None else "*" * sum(self.p_holm < limit for limit in (0.05, 0.01, 0.001))


class Contestant(msgspec.Struct, frozen=True):
    """What of a row the comparisons need."""

    label: str
    router: str
    high_share: float | None
    cost: float | None
    """Weight bytes of an episode."""
    mean: float | None
    success: Mapping[Key, float]
    """By instance and seed."""


def compare_section(rows: Sequence[Contestant]) -> list[list[Against]]:
    """The comparisons of each row, in the order given."""
    found = [
        (index, kind, other, paired_difference(row.success, other.success))
        for index, row in enumerate(rows)
        for kind, other in _others(row, rows)
    ]
    corrected = iter(holm([difference.p for *_, difference in found if difference.p is not None]))
    compared: list[list[Against]] = [[] for _ in rows]
    for index, kind, other, difference in found:
        p_holm = None if difference.p is None else next(corrected)
        compared[index].append(Against(kind, other.label, difference.difference, difference.p, p_holm))
    return compared


def _others(row: Contestant, rows: Sequence[Contestant]) -> list[tuple[str, Contestant]]:
    """Whom a row is compared with."""
    rest = [other for other in rows if other is not row and other.mean is not None]
    found = [("always-high", other) for other in rest if other.router == "always-high"][:1]
    if row.high_share is not None and row.router not in RANDOM:
        near = [
            (abs(other.high_share - row.high_share), place)
            for place, other in enumerate(rest)
            if other.router in RANDOM and other.high_share is not None
        ]
        if near and min(near)[0] <= MATCHED:
            found.append(("matched random", rest[min(near)[1]]))
    if row.cost is not None and row.router not in ("always-high", "always-low"):
        cheaper = [
            other for other in rest if other.router in BASELINES and other.cost is not None and other.cost <= row.cost
        ]
        if cheaper:
            found.append(("best baseline", max(cheaper, key=lambda other: other.mean or 0.0)))
    return found
