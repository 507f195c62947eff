"""Verdicts and audits of entries, written to the evidence as they are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import msgspec

from harness.errors import MixrouteError
from harness.traces.evidence import (
    AUDITS,
    VERDICTS,
    AuditRecord,
    VerdictRecord,
    entry_digest,
    merge_records,
    read_evidence,
    read_records,
    seed_of_commit,
)
from harness.verify.audit import Audit, audit_entries, not_audited
from harness.verify.entry import NO_TASK
from harness.verify.pools import Pools
from harness.verify.report import EntryVerdict


def record_verdicts(verdicts: Mapping[Path, EntryVerdict], evidence: Path) -> None:
    """Write verdicts to the evidence, by the entry's folder. That of a machine which could open the task stays.

    Raises:
        MixrouteError: the evidence is damaged.
    """
    known = read_evidence(evidence).verdicts
    new = []
    for folder, verdict in verdicts.items():
        missing = [result for result in verdict.results if result.status == "unchecked"]
        try:
            digest = entry_digest(folder)
        except MixrouteError:  # damaged: there is nothing that a record could speak of
            continue
        if digest in known and any(reason.startswith(NO_TASK) for result in missing for reason in result.details):
            continue
        unchecked = [f"{result.check}: {' '.join(result.details)}" for result in missing]
        new.append(VerdictRecord(folder.name, digest, verdict.status, unchecked))
    merge_records(evidence / VERDICTS, new, VerdictRecord, [folder.name for folder in verdicts])


def audited(
    folders: Sequence[Path],
    verdicts: Sequence[EntryVerdict],
    count: int,
    seed: str | None,
    *,
    pools: Pools = MappingProxyType({}),
    evidence: Path | None = None,
) -> list[EntryVerdict]:
    """The verdicts with those of the models. Entries that failed are not audited: nothing that they name is opened.

    Args:
        folders: Runs or entries.
        verdicts: What was found of each without a model.
        count: Episodes to audit of each.
        seed: What they are drawn from; the commit of this repository if None.
        pools: Pools that are not shipped.
        evidence: Folder of the evidence. Its records of the same entry, seed and count are taken over.

    Raises:
        MixrouteError: there is neither a seed nor a commit; or the evidence is damaged.
    """
    drawn_from = seed_of_commit() if seed is None else seed
    names = [folder.name for folder in folders]
    known = {} if evidence is None else {one.digest: one for one in read_records(evidence / AUDITS, AuditRecord)}

    def save(audit: Audit) -> None:
        if evidence is not None and audit.record is not None:
            kept = [record.entry for record in read_records(evidence / AUDITS, AuditRecord)]
            merge_records(evidence / AUDITS, [audit.record], AuditRecord, [*kept, *names])

    failed = {verdict.entry for verdict in verdicts if verdict.status == "failed"}
    sound = [folder for folder in folders if folder.name not in failed]
    audits = {one.folder: one for one in audit_entries(sound, count, drawn_from, pools=pools, known=known, done=save)}
    found = {folder.name: audits.get(folder) or not_audited(folder, "it failed a check above") for folder in folders}
    return [
        msgspec.structs.replace(verdict, results=[*verdict.results, audit.result], audit=audit.record)
        if (audit := found.get(verdict.entry)) is not None
        else verdict  # a calibration run, or what is no entry
        for verdict in verdicts
    ]
