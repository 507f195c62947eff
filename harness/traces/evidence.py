"""Evidence: what was found out about published entries beside their own traces: verdicts, audits, fresh games.

A folder ``evidence`` beside the entries holds one JSON file a kind, each a list in order of entry. A record names the
digest of the entry that it speaks of, so that it says nothing of an entry that was changed afterwards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from harness.errors import MixrouteError
from harness.files import Record, write_atomically
from harness.json_files import read_json
from harness.metrics import Estimate
from harness.provenance import provenance
from harness.traces.siblings import PACK
from harness.traces.store import EPISODES, RUN, plain_or_xz, read_bytes

FOLDER = "evidence"
SELF_REPORTED = "seconds are self-reported"
"""Said of an entry whose measured seconds no published entry bounds."""
VERDICTS, AUDITS, CHALLENGES = "verdicts.json", "audits.json", "challenges.json"


class VerdictRecord(Record, frozen=True):
    """What ``mixroute verify`` found. ``unchecked`` has a sentence for each check that could not be made."""

    entry: str
    digest: str
    status: Literal["ok", "unchecked", "failed"]
    unchecked: list[str]


class AuditRecord(Record, frozen=True):
    """What the models themselves said of an entry's answers, ``mixroute verify --audit``."""

    entry: str
    digest: str
    seed: str
    """What the audited episodes were drawn from."""
    episodes: int
    calls: int
    largest_gap: float
    """Largest difference of a statistic of a token, recorded against scored, in nats."""
    asked_again: int
    """Calls that scoring could not settle, and that the model answered once more."""
    status: Literal["ok", "failed"]


class ChallengeRecord(Record, frozen=True):
    """A row played on games that did not exist when its entry was made, ``mixroute challenge``."""

    entry: str
    """The entry of the row's first seed."""
    digest: str
    seed: str
    """What the games were drawn from."""
    games: int
    success: float
    """Share of the fresh games that the router won."""
    difference: Estimate
    """Its success less always-high's on the fresh games."""
    claimed: Estimate
    """Its success less always-high's on the published games."""
    cost: float | None
    """Its weight bytes on the fresh games, over always-high's."""
    claimed_cost: float | None
    """Its weight bytes on the published games, over always-high's."""
    p: float | None
    """P-value of the test that the fresh difference is no smaller than the claimed one."""
    status: Literal["holds", "refuted"]
    excess: Estimate | None = None
    """The fresh cost ratio over the claimed one."""
    cost_p: float | None = None
    """P-value of the test that the fresh cost ratio is no larger than the claimed one."""


R = TypeVar("R", VerdictRecord, AuditRecord, ChallengeRecord)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Records by digest of the entry."""

    verdicts: Mapping[str, VerdictRecord] = field(default_factory=dict)
    audits: Mapping[str, AuditRecord] = field(default_factory=dict)
    challenges: Mapping[str, ChallengeRecord] = field(default_factory=dict)


def read_evidence(folder: Path) -> Evidence:
    """The evidence in ``folder``; none where there is no such folder.

    Raises:
        MixrouteError: a file is not valid.
    """
    return Evidence(
        {record.digest: record for record in read_records(folder / VERDICTS, VerdictRecord)},
        {record.digest: record for record in read_records(folder / AUDITS, AuditRecord)},
        {record.digest: record for record in read_records(folder / CHALLENGES, ChallengeRecord)},
    )


def read_records(path: Path, kind: type[R]) -> list[R]:
    """The records of one file; none where there is no such file.

    Raises:
        MixrouteError: it is not valid.
    """
    if not path.exists():
        return []
    return read_json(path, list[kind], "restore it, or make it again")  # type: ignore[valid-type]


def write_records(path: Path, records: Iterable[R]) -> None:
    """Write records of one kind in order of entry."""
    ordered = sorted(records, key=lambda record: record.entry)
    write_atomically(path, msgspec.json.format(msgspec.json.encode(ordered), indent=1) + b"\n")


def merge_records(path: Path, new: Iterable[R], kind: type[R], entries: Iterable[str]) -> None:
    """Put new records in place of older ones of the same entries, and drop those of entries that are gone."""
    known = set(entries)
    kept = {record.entry: record for record in read_records(path, kind) if record.entry in known}
    write_records(path, {**kept, **{record.entry: record for record in new}}.values())


def seed_of_commit() -> str:
    """What is drawn for evidence where no seed is given: the commit of this repository.

    Raises:
        MixrouteError: there is none.
    """
    git = provenance()["git"]
    if git is None:
        raise MixrouteError("--seed is needed: mixroute does not run from a git repository whose commit it could take")
    return str(git["commit"])


def entry_digest(folder: Path) -> str:
    """SHA-256 (hex) of what an entry claims: ``run.json``, the episodes, and the hashes of the tables they refer to.

    Raises:
        MixrouteError: one of the files is missing or damaged.
    """
    digest = hashlib.sha256()
    for path in (folder / RUN, plain_or_xz(folder / EPISODES), folder / PACK):
        content = read_bytes(path) if path.name != PACK or path.exists() else b""
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()
