"""The review of a submission, by the script that the workflow runs: an honest one, a forged one, an incomplete one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.errors import MixrouteError
from harness.traces.store import find_runs, read_meta
from harness.verify.review import read_verdicts, review
from tests.harness.verify.editing import Entry, copy_inline, copy_publication, named_anew, read, write
from tests.shared_data import REPOSITORY


@dataclass(frozen=True)
class Reviewed:
    """What the script left."""

    code: int
    comment: str
    errors: str


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with the entries of one group, and what the scripts need."""
    folder = tmp_path_factory.mktemp("published")
    (folder / "results").mkdir()
    copy_publication(folder / "results")
    shutil.copytree(REPOSITORY / ".ci", folder / ".ci")
    (folder / "Makefile").write_text("setup:\n")
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    return folder


def entry_of(checkout: Path, router: str) -> Path:
    return next(run for run in find_runs(checkout / "results" / "entries") if read_meta(run).router == router)


def reviewed(checkout: Path, base: Path, folder: Path) -> Reviewed:
    comment = folder / "comment.md"
    done = subprocess.run(
        [checkout / ".ci" / "review", base, comment],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    return Reviewed(done.returncode, comment.read_text() if comment.exists() else "", done.stderr)


@pytest.fixture(scope="module")
def base(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout without the row that is submitted."""
    folder = tmp_path_factory.mktemp("base")
    shutil.copytree(published, folder, dirs_exist_ok=True, symlinks=True)
    shutil.rmtree(entry_of(folder, "dmr"))
    return folder


def test_an_honest_entry_is_reviewed_in_plain_words(published: Path, base: Path, tmp_path: Path) -> None:
    found = reviewed(published, base, tmp_path)
    assert found.code == 0, found.errors
    assert found.comment.startswith("**1 new entry: 1 ok.**")
    assert "| label | success % | high % |" in found.comment
    for label in ("always-high", "always-low", "dmr"):
        assert f"| {label} |" in found.comment
    assert "- dmr " in found.comment
    assert "only 4 instances" in found.comment
    assert "failed" not in found.comment


def test_forged_and_incomplete_entries_and_changed_ones_are_told(published: Path, base: Path, tmp_path: Path) -> None:
    def flatter(entry: Entry) -> None:
        for episode in entry["episodes"]:
            episode.update(success=True, score=1.0)

    def shorten(entry: Entry) -> None:
        for name in ("episodes", "timings"):
            entry[name].pop()

    checkout = tmp_path / "checkout"
    shutil.copytree(published, checkout, symlinks=True)
    honest = entry_of(checkout, "dmr")
    for name, edit in (("flattered", flatter), ("shortened", shorten)):
        folder = honest.with_name(name)
        copy_inline(honest, folder)
        entry = read(folder)
        edit(entry)
        named_anew(entry)
        write(entry, folder)
    shutil.rmtree(honest)
    changed = entry_of(checkout, "always-low")
    shutil.rmtree(changed)
    found = reviewed(checkout, base, tmp_path)
    assert found.code == 1, found.errors
    assert found.comment.startswith("**2 new entries: 2 failed.**")
    for told in ("`flattered` is failed:", "`shortened` is failed:", "changed or taken away", "cannot be merged"):
        assert told in found.comment
    assert changed.name.replace("_", "\\_") in found.comment
    assert "| dmr" not in found.comment  # a row that failed has no place on the board


def test_verdicts_that_are_none_and_entries_without_one_are_named(published: Path, base: Path, tmp_path: Path) -> None:
    (tmp_path / "verdicts.json").write_text('{"ok": true}')
    with pytest.raises(MixrouteError, match=r"verdicts\.json does not hold verdicts .*write it with mixroute verify"):
        read_verdicts(tmp_path / "verdicts.json")
    entries, evidence = published / "results" / "entries", published / "results" / "evidence"
    with pytest.raises(MixrouteError, match="no verdict on .*_dmr_.*: verify"):
        review(entries, base / "results" / "entries", {}, evidence)


def test_a_base_that_is_not_there_is_named(published: Path, tmp_path: Path) -> None:
    entries, evidence = published / "results" / "entries", published / "results" / "evidence"
    with pytest.raises(MixrouteError, match="nowhere is no folder"):
        review(entries, tmp_path / "nowhere", {}, evidence)


def test_the_page_is_written_by_its_script(published: Path, tmp_path: Path) -> None:
    subprocess.run([published / ".ci" / "page", tmp_path / "site"], check=True, capture_output=True)
    assert (tmp_path / "site" / "index.html").read_text().startswith("<!doctype html>")
