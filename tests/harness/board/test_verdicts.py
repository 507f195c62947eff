"""Evidence on the board: verdicts, audits and fresh games of the entries behind a row."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from harness.board import write_board
from harness.board.rows import Row
from harness.metrics import Estimate
from harness.traces.evidence import (
    AUDITS,
    CHALLENGES,
    SELF_REPORTED,
    VERDICTS,
    AuditRecord,
    ChallengeRecord,
    VerdictRecord,
    entry_digest,
    write_records,
)
from mixroute import MixrouteError
from tests.command import mixroute
from tests.harness.board.builders import Play, Run, write_run
from tests.harness.board.clocked import write_clocks

DRAWN = Run("random", {"a": Play("hl"), "b": Play("l", success=False)})
CHALLENGE = ChallengeRecord(
    "0", "", "seed", 20, 0.5, Estimate(-0.1, -0.3, 0.1), Estimate(0.0, -0.1, 0.1), 0.4, 0.5, 0.3, "holds"
)


@pytest.fixture
def entries(tmp_path: Path) -> list[Path]:
    """A row of three seeds, and one of one."""
    runs = [replace(DRAWN, seed=seed) for seed in range(3)] + [Run("always-high", DRAWN.plays)]
    return [write_run(tmp_path / "entries" / str(number), run) for number, run in enumerate(runs)]


def verdict(folder: Path, status: str, *unchecked: str) -> VerdictRecord:
    return VerdictRecord(folder.name, entry_digest(folder), status, list(unchecked))  # type: ignore[arg-type]


def row_of(entries: list[Path], out: Path) -> Row:
    board = write_board(entries, out, evidence=entries[0].parent.parent / "evidence")
    return next(row for row in board.rows if row.router == "random")


def test_seconds_that_nothing_bounds_are_said_to_be_self_reported(entries: list[Path], tmp_path: Path) -> None:
    def cells() -> list[str]:
        lines = (tmp_path / "out" / "board.md").read_text().splitlines()
        return [line for line in lines if line.startswith("| random") and "self-reported |" in line]

    write_records(tmp_path / "evidence" / VERDICTS, [verdict(entries[0], "unchecked", "its hidden states")])
    row_of(entries, tmp_path / "out")
    assert not cells()
    reason = f"measured seconds: {SELF_REPORTED}: no published entry timed it"
    write_records(tmp_path / "evidence" / VERDICTS, [verdict(entries[0], "unchecked", reason)])
    assert row_of(entries, tmp_path / "out").self_reported
    assert not cells()  # it has no seconds
    write_clocks(entries)
    row_of(entries, tmp_path / "out")
    assert cells()


@pytest.mark.parametrize(
    ("statuses", "worst"),
    [
        (["ok", "ok", "ok"], "ok"),
        (["ok", "unchecked", "ok"], "unchecked"),
        (["ok", "unchecked"], ""),
        (["failed", "unchecked"], "failed"),
        (["ok", "failed", "unchecked"], "failed"),
        ([], ""),
    ],
)
def test_a_row_has_the_worst_verdict_of_its_seeds(
    entries: list[Path], tmp_path: Path, statuses: list[str], worst: str
) -> None:
    records = [verdict(folder, status, f"why {status}") for folder, status in zip(entries, statuses, strict=False)]
    write_records(tmp_path / "evidence" / VERDICTS, records)
    row = row_of(entries, tmp_path / "out")
    assert row.verified == worst
    assert row.unchecked == sorted({f"why {status}" for status in statuses})
    assert [note for note in row.notes if note.startswith("not checked")] == [
        f"not checked: {w}" for w in row.unchecked
    ]


def test_evidence_of_an_entry_that_was_changed_says_nothing(entries: list[Path], tmp_path: Path) -> None:
    write_records(tmp_path / "evidence" / VERDICTS, [verdict(folder, "ok") for folder in entries])
    assert row_of(entries, tmp_path / "out").verified == "ok"
    trace = entries[1] / "episodes.jsonl"
    trace.write_bytes(trace.read_bytes().replace(b'"score":0.0', b'"score":0.5'))
    assert row_of(entries, tmp_path / "out").verified == ""


def test_audits_are_added_up_and_shown_with_fresh_games(entries: list[Path], tmp_path: Path) -> None:
    audits = [
        AuditRecord(folder.name, entry_digest(folder), "s", 8, 100, gap, 1, "ok")
        for folder, gap in zip(entries[:2], (1e-5, 2e-5), strict=True)
    ]
    write_records(tmp_path / "evidence" / AUDITS, audits)
    write_records(tmp_path / "evidence" / CHALLENGES, [structs.replace(CHALLENGE, digest=entry_digest(entries[0]))])
    row = row_of(entries, tmp_path / "out")
    assert row.audit is not None
    assert (row.audit.status, row.audit.entries, row.audit.episodes, row.audit.calls) == ("ok", 2, 16, 200)
    assert (row.audit.largest_gap, row.audit.seeds) == (2e-5, ["s"])
    text = (tmp_path / "out/board.md").read_text()
    assert "| - | ok, 16 episodes, 2 of 3 entries | holds, 20 games |" in text
    table = list(csv.DictReader((tmp_path / "out/board.csv").open()))
    by_router = {line["router"]: (line["audit_episodes"], line["fresh_status"], line["verified"]) for line in table}
    assert by_router == {"random": ("16", "holds", ""), "always-high": ("", "", "")}
    write_records(tmp_path / "evidence" / AUDITS, [audits[0], structs.replace(audits[1], status="failed")])
    failed = row_of(entries, tmp_path / "out").audit
    assert failed is not None
    assert failed.status == "failed"


def test_the_command_reads_the_folder_beside_the_entries(entries: list[Path], tmp_path: Path) -> None:
    def verified(*options: str) -> list[str]:
        mixroute("board", "entries", "--out", "out", *options, cwd=tmp_path)
        return [row["verified"] for row in json.loads((tmp_path / "out/board.json").read_text())["rows"]]

    assert verified() == ["", ""]
    write_records(tmp_path / "evidence" / VERDICTS, [verdict(folder, "ok") for folder in entries])
    assert verified() == ["ok", "ok"]
    write_records(tmp_path / "other" / VERDICTS, [verdict(folder, "failed") for folder in entries])
    assert verified("--evidence", "other") == ["failed", "failed"]
    assert "is no folder" in mixroute("board", "entries", "--evidence", "nowhere", cwd=tmp_path, code=2).stderr


def test_evidence_that_is_not_valid_is_named(entries: list[Path], tmp_path: Path) -> None:
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / AUDITS).write_text('[{"entry": 1}]')
    with pytest.raises(MixrouteError, match=r"audits\.json is not valid"):
        row_of(entries, tmp_path / "out")
