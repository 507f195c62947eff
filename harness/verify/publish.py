"""Verification of the published results: the entries with the lock file, calibration runs and evidence beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import msgspec

from harness.errors import MixrouteError
from harness.records import RunMeta
from harness.traces.evidence import FOLDER, Evidence, entry_digest, read_evidence
from harness.traces.store import read_meta
from harness.verify.entries import verify_entries
from harness.verify.entry import NO_TASK
from harness.verify.evidence import record_verdicts
from harness.verify.lock import LOCK, Lock, read_lock
from harness.verify.pools import Pools
from harness.verify.published_rows import (
    check_files,
    check_group,
    check_reference,
    check_row,
    check_seconds,
    seeds_by_row,
)
from harness.verify.refit import Refit
from harness.verify.report import Check, CheckResult, EntryVerdict


@dataclass(frozen=True, slots=True)
class Publication:
    """The folder of published entries, and what lies beside it.

    Attributes:
        entries: The folder.
        lock: The lock file.
        evidence: Verdicts, audits and fresh games of entries.
        refit: Calibration runs, from which thresholds follow.
    """

    entries: Path
    lock: Lock
    evidence: Evidence
    refit: Refit

    @classmethod
    def open(cls, entries: Path) -> Publication:
        """The publication whose entries lie in ``entries``.

        Raises:
            MixrouteError: a file beside it is missing or damaged.
        """
        beside = entries.parent
        lock = read_lock(beside / LOCK)
        return cls(entries, lock, read_evidence(beside / FOLDER), Refit(beside / "calibration", lock))

    def knows(self, folder: Path) -> bool:
        """Whether the maintainers have made an entry, as the lock file says, or verified or audited it before."""
        try:
            digest = entry_digest(folder)
        except MixrouteError:
            return False
        found = [self.evidence.verdicts.get(digest), self.evidence.audits.get(digest)]
        statuses = {record.status for record in found if record is not None}
        locked = any(group.references.get(folder.name) == digest for group in self.lock.groups)
        return "failed" not in statuses and (locked or bool(statuses))


def verify_published(
    entries: Path,
    folders: Sequence[Path],
    *,
    pools: Pools = MappingProxyType({}),
    evidence: Path | None = None,
    processes: int | None = None,
) -> list[EntryVerdict]:
    """Verify the published results: the entries, the calibration runs beside them, and that nothing else is there.

    Args:
        entries: The folder of the entries.
        folders: The entries.
        pools: Pools that are not shipped.
        evidence: Folder that the verdicts are written to.
        processes: As in ``verify_entries``.

    Raises:
        MixrouteError: a file beside the entries is missing or damaged.
    """
    publication = Publication.open(entries)
    published = check_publication(folders, publication)
    trusted = [folder for folder in folders if publication.knows(folder)]
    for run in publication.refit.runs:
        published[run] = [check_files(run).result()]
    verified = verify_entries(
        list(published), pools=pools, refit=publication.refit, trusted=trusted, processes=processes
    )
    verdicts = {
        folder: msgspec.structs.replace(verdict, results=[*published[folder], *verdict.results])
        for folder, verdict in zip(published, verified, strict=True)
    }
    by_hash = _by_hash(folders)
    for folder in folders:
        seconds = check_seconds(folder, verdicts[folder], publication.lock, by_hash).result()
        verdicts[folder] = msgspec.structs.replace(verdicts[folder], results=[*verdicts[folder].results, seconds])
    if evidence is not None:
        record_verdicts(verdicts, evidence)
    accepted = [accept(verdict, folder, publication) for folder, verdict in verdicts.items()]
    return [*check_strays(entries, folders), *accepted]


def _by_hash(folders: Iterable[Path]) -> dict[str, Path]:
    """The entries that can be read, by the hashes of their runs."""
    found = {}
    for folder in folders:
        with suppress(MixrouteError):  # verification says so
            found[read_meta(folder).hash] = folder
    return found


def check_strays(entries: Path, folders: Sequence[Path]) -> list[EntryVerdict]:
    """A failed verdict for each thing in the folder of published entries that is no entry."""
    strays = sorted({*entries.iterdir()} - {*folders})
    check = "it is an entry"
    return [
        EntryVerdict(path.name, [CheckResult(check, "failed", 1, [f"{path.name} is no entry: take it out"])])
        for path in strays
    ]


def check_publication(folders: Sequence[Path], publication: Publication) -> dict[Path, list[CheckResult]]:
    """The checks of every published entry, by its folder.

    Args:
        folders: All published entries: some checks are of one against the others.
        publication: What they are checked with.
    """
    results: dict[Path, list[CheckResult]] = {}
    metas: dict[Path, RunMeta] = {}
    for folder in folders:
        results[folder] = [check_files(folder).result()]
        try:
            metas[folder] = read_meta(folder)
        except MixrouteError:
            continue  # verification says so
    seeds = seeds_by_row(metas.values())
    for folder, meta in metas.items():
        locked = publication.lock.group_of(meta)
        checks = [
            check_group(meta, locked, publication.lock),
            check_row(meta, locked, seeds),
            check_reference(folder, meta, locked),
        ]
        results[folder] += [check.result() for check in checks]
    return results


def accept(verdict: EntryVerdict, folder: Path, publication: Publication) -> EntryVerdict:
    """The verdict with one more check: that whatever could not be checked is known to be so.

    A task that cannot be opened here is accepted where the evidence has the verdict of a machine on which it could.
    """
    check = Check("what could not be checked is known, and accepted")
    try:
        meta, digest = read_meta(folder), entry_digest(folder)
        known = publication.evidence.verdicts.get(digest)
    except MixrouteError:
        return verdict
    for result in verdict.results:
        if result.status != "unchecked":
            continue
        reason = " ".join(result.details)
        if reason.startswith(NO_TASK) and known is not None and known.status != "failed":
            continue
        if not any(
            one.check == result.check
            and one.reason in reason
            and one.router in ("", meta.router)
            and one.pool in ("", meta.pool)
            and one.digest in ("", digest)
            for one in publication.lock.unchecked
        ):
            check.problem(result.check, reason)
    return msgspec.structs.replace(verdict, results=[*verdict.results, check.result()])
