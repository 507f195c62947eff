"""What the evidence says of the entries behind a row: verdicts, audits, fresh games."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from harness.traces.evidence import SELF_REPORTED, AuditRecord, ChallengeRecord, Evidence, entry_digest

_WORST: tuple[Literal["failed", "", "unchecked", "ok"], ...] = ("failed", "", "unchecked", "ok")


class Audit(msgspec.Struct, frozen=True):
    """The audits of a row's entries, together."""

    status: Literal["ok", "failed"]
    """``failed`` if one failed."""
    entries: int
    """Entries of the row that were audited."""
    episodes: int
    calls: int
    asked_again: int
    """Calls that scoring could not settle, and that the model answered once more."""
    largest_gap: float
    """Largest difference of a statistic of a token, recorded against scored, in nats."""
    seeds: list[str]
    """What the audited episodes were drawn from."""


class RowEvidence(msgspec.Struct, frozen=True):
    """The evidence of a row; as good as nothing where there is none."""

    verified: Literal["ok", "unchecked", "failed", ""] = ""
    """The worst verdict on its entries; empty where one has none, and none failed."""
    unchecked: list[str] = msgspec.field(default_factory=list)
    """Checks that could not be made, a sentence each."""
    audit: Audit | None = None
    fresh: ChallengeRecord | None = None

    @property
    def self_reported(self) -> bool:
        """Whether nothing bounds the row's measured seconds."""
        return any(SELF_REPORTED in reason for reason in self.unchecked)

    @property
    def notes(self) -> list[str]:
        """What limits the verdict."""
        return [f"not checked: {reason}" for reason in self.unchecked]


def evidence_of(folders: Sequence[Path], evidence: Evidence) -> RowEvidence:
    """The evidence of the entries in ``folders``, as far as they are what it was made for.

    Raises:
        MixrouteError: a file of an entry is missing or damaged.
    """
    if not (evidence.verdicts or evidence.audits or evidence.challenges):
        return RowEvidence()
    digests = [entry_digest(folder) for folder in folders]
    verdicts = [evidence.verdicts.get(digest) for digest in digests]
    statuses = {verdict.status if verdict else "" for verdict in verdicts}
    audits = [evidence.audits[digest] for digest in digests if digest in evidence.audits]
    challenges = [evidence.challenges[digest] for digest in digests if digest in evidence.challenges]
    return RowEvidence(
        verified=next(status for status in _WORST if status in statuses),
        unchecked=sorted({reason for verdict in verdicts if verdict for reason in verdict.unchecked}),
        audit=_together(audits) if audits else None,
        fresh=challenges[0] if challenges else None,
    )


def _together(audits: Sequence[AuditRecord]) -> Audit:
    return Audit(
        status="failed" if any(audit.status == "failed" for audit in audits) else "ok",
        entries=len(audits),
        episodes=sum(audit.episodes for audit in audits),
        calls=sum(audit.calls for audit in audits),
        asked_again=sum(audit.asked_again for audit in audits),
        largest_gap=max(audit.largest_gap for audit in audits),
        seeds=sorted({audit.seed for audit in audits}),
    )
