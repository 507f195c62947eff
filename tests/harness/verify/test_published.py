"""Published results are verified as a whole: honest entries pass, and every forged one fails the check that should."""

from __future__ import annotations

import json
import lzma
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from harness.errors import MixrouteError
from harness.traces.evidence import VERDICTS, VerdictRecord, entry_digest, read_evidence, write_records
from harness.traces.store import find_runs, read_meta
from harness.verify.entry import NO_TASK
from harness.verify.evidence import record_verdicts
from harness.verify.lock import Accepted, Lock, read_lock, write_lock
from harness.verify.publish import Publication, accept
from harness.verify.published_rows import check_reference
from harness.verify.report import CheckResult, EntryVerdict
from tests.command import mixroute
from tests.harness.verify.editing import copy_inline, copy_publication, named_anew, read, write
from tests.harness.verify.forgeries import FORGERIES, Forgery

Verdicts = dict[str, dict[str, str]]
"""Status of each check, by entry and check."""


def verified(entries: Path, code: int, *options: str) -> Verdicts:
    options = ("--published", "--json", "verdicts.json", *options)
    mixroute("verify", "entries", *options, cwd=entries.parent, code=code)
    found = json.loads((entries.parent / "verdicts.json").read_text())
    return {one["entry"]: {result["check"]: result["status"] for result in one["findings"]} for one in found}


@pytest.fixture(scope="module")
def publication(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Published entries of one group (the default suite's on ALFWorld), with their lock file and calibration run."""
    folder = tmp_path_factory.mktemp("published")
    copy_publication(folder)
    return folder


@pytest.fixture(scope="module")
def honest(publication: Path) -> Verdicts:
    return verified(publication / "entries", 0, "--evidence", "evidence")


@pytest.fixture(scope="module")
def forged(publication: Path, honest: Verdicts, tmp_path_factory: pytest.TempPathFactory) -> Verdicts:
    """Verdicts on all forgeries, side by side with the honest entries that they copy, which were verified before."""
    folder = tmp_path_factory.mktemp("forged")
    shutil.copytree(publication, folder, dirs_exist_ok=True)
    for name, forgery in FORGERIES.items():
        forge(publication / "entries", folder / "entries" / name, forgery)
    (folder / "entries" / "read me.txt").write_text("no entry")
    return verified(folder / "entries", 1)


def forge(entries: Path, folder: Path, forgery: Forgery) -> None:
    names = {"perplexity": "perplexity 30%"}
    label = names.get(forgery.router)
    honest = next(
        run
        for run in find_runs(entries)
        if (read_meta(run).label == label if label else read_meta(run).router == forgery.router)
    )
    copy_inline(honest, folder)
    entry = read(folder)
    forgery.edit(entry)
    named_anew(entry)
    write(entry, folder)
    if forgery.spoil:
        forgery.spoil(folder)


def test_honest_entries_pass(honest: Verdicts) -> None:
    assert len(honest) == 7
    for entry, checks in honest.items():
        assert set(checks.values()) == {"ok"}, (entry, checks)


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_entry_fails(forged: Verdicts, name: str) -> None:
    checks = forged[name]
    assert checks.get(FORGERIES[name].caught) == "failed", checks


def test_forged_entries_spoil_no_honest_one(forged: Verdicts, honest: Verdicts) -> None:
    assert {entry: forged[entry] for entry in honest} == honest


def test_times_of_a_reference_row_are_locked(publication: Path, tmp_path: Path) -> None:
    folder = find_runs(publication / "entries")[0]
    meta = read_meta(folder)
    write_lock(tmp_path / "lock.json", [folder])
    locked = read_lock(tmp_path / "lock.json").group_of(meta)
    assert meta.router == "always-high"
    assert not check_reference(folder, meta, locked).failed
    slow = tmp_path / folder.name
    shutil.copytree(folder, slow)
    times = lzma.decompress((slow / "timings.jsonl.xz").read_bytes())
    (slow / "timings.jsonl.xz").write_bytes(lzma.compress(times.replace(b'"prefill":', b'"prefill":9')))
    assert check_reference(slow, meta, locked).failed


def test_what_is_no_entry_fails(forged: Verdicts) -> None:
    assert forged["read me.txt"] == {"it is an entry": "failed"}


@pytest.fixture
def opened(publication: Path, tmp_path: Path) -> Publication:
    shutil.copytree(publication, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("evidence"))
    return Publication.open(tmp_path / "entries")


def status_where_unchecked(opened: Publication, check: str, reason: str) -> str:
    """The status of an entry that passes all checks but one, which could not be made."""
    folder = find_runs(opened.entries)[0]
    result = CheckResult(check, "unchecked", 0, [reason])
    return accept(EntryVerdict(folder.name, [result]), folder, opened).results[-1].status


def test_what_could_not_be_checked_fails_unless_the_lock_file_lists_it(opened: Publication) -> None:
    assert status_where_unchecked(opened, "the sky is blue", "it is night") == "failed"
    own = entry_digest(find_runs(opened.entries)[0])
    for listed, status in (
        (Accepted("the sky is blue", "night"), "ok"),
        (Accepted("the sky is blue", "night", digest=own), "ok"),
        (Accepted("the sky is blue", "night", digest="0" * 64), "failed"),
        (Accepted("the sky is blue", "night", router="dmr"), "failed"),
        (Accepted("the sky is blue", "clouds"), "failed"),
        (Accepted("the sea is blue", "night"), "failed"),
    ):
        one = replace(opened, lock=Lock(opened.lock.groups, [listed]))
        assert status_where_unchecked(one, "the sky is blue", "it is night") == status, listed


@pytest.mark.parametrize(
    ("recorded", "status"), [("ok", "ok"), ("unchecked", "ok"), ("failed", "failed"), (None, "failed")]
)
def test_a_task_that_cannot_be_opened_here_takes_an_earlier_verdict(
    opened: Publication, recorded: Literal["ok", "unchecked", "failed"] | None, status: str
) -> None:
    folder = find_runs(opened.entries)[0]
    if recorded:
        record = VerdictRecord(folder.name, entry_digest(folder), recorded, [])
        write_records(opened.entries.parent / "evidence" / VERDICTS, [record])
    again = Publication.open(opened.entries)
    assert status_where_unchecked(again, "the protocol is the task's", f"{NO_TASK}: no data") == status


def test_verdicts_are_evidence_of_the_entry_as_it_was(opened: Publication) -> None:
    folder, evidence = find_runs(opened.entries)[0], opened.entries.parent / "evidence"
    sound = EntryVerdict(folder.name, [CheckResult("all", "ok", 0, [])])
    record_verdicts({folder: sound}, evidence)
    assert opened.knows(folder)  # the lock file names it
    other = replace(opened, lock=Lock([], []), evidence=read_evidence(evidence))
    assert other.knows(folder)
    (folder / "run.json").write_text((folder / "run.json").read_text() + " ")
    assert not other.knows(folder)
    blind = EntryVerdict(folder.name, [CheckResult("all", "unchecked", 0, [f"{NO_TASK}: no data"])])
    record_verdicts({folder: blind}, evidence)  # says nothing of the entry that was verified
    assert {record.status for record in read_evidence(evidence).verdicts.values()} == {"unchecked"}


def test_the_lock_file_is_written_anew_from_the_entries(opened: Publication) -> None:
    path = opened.entries.parent / "lock.json"
    before = path.read_bytes()
    write_lock(path, find_runs(opened.entries))
    (again,), kept = read_lock(path).groups, read_lock(path).unchecked
    assert again in opened.lock.groups
    assert kept == opened.lock.unchecked
    assert path.read_bytes() != before  # the other groups are gone
    shutil.rmtree(opened.entries / next(iter(again.references)))
    with pytest.raises(MixrouteError):
        write_lock(path, [*find_runs(opened.entries), opened.entries / "gone"])
    assert read_lock(path).groups == [again]
