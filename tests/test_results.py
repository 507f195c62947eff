"""The entries that the repository publishes: every one of them holds. What is made of them: ``test_published.py``."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.traces.store import find_runs, read_meta
from harness.verify.entries import verify_entries
from harness.verify.publish import Publication, accept, check_publication, check_strays
from tests.shared_data import REPOSITORY, shared

RESULTS = REPOSITORY / "results"
DATA = {"alfworld": "ALFWORLD_DATA", "webshop": "WEBSHOP_DATA"}


TASKS = [("alfworld-gen", "webshop-gen"), ("arith-gen",), ("alfworld",), ("webshop",)]
MOST_BYTES = 30_000_000
ONE_IN = 4
"""One of so many entries of a router on a task is verified; all with ``make verify``."""


def entries(*tasks: str) -> list[Path]:
    return [folder for folder in find_runs(RESULTS / "entries") if read_meta(folder).task in tasks]


def sample(folders: list[Path]) -> list[Path]:
    """The first of every ``ONE_IN`` entries of one router on one task, in order of name."""
    kinds: dict[tuple[str, str, str], list[Path]] = {}
    for folder in folders:
        meta = read_meta(folder)
        kinds.setdefault((meta.task, meta.router, meta.pool), []).append(folder)
    return sorted(folder for several in kinds.values() for folder in several[::ONE_IN])


@pytest.mark.slow
@pytest.mark.parametrize("tasks", TASKS)
def test_published_entries_are_verified(tasks: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    for task in DATA.keys() & set(tasks):
        monkeypatch.setenv(DATA[task], str(shared("data", task)))
    publication, folders = Publication.open(RESULTS / "entries"), sample(entries(*tasks))
    assert folders
    for folder, verdict in zip(folders, verify_entries(folders, refit=publication.refit), strict=True):
        assert accept(verdict, folder, publication).status != "failed", verdict


def test_published_entries_are_those_of_the_lock_file() -> None:
    folders = find_runs(RESULTS / "entries")
    assert not check_strays(RESULTS / "entries", folders)
    for folder, results in check_publication(folders, Publication.open(RESULTS / "entries")).items():
        assert all(result.status == "ok" for result in results), (folder.name, results)


def test_no_published_entry_is_left_out() -> None:
    assert entries(*(task for tasks in TASKS for task in tasks)) == find_runs(RESULTS / "entries")


def test_the_published_entries_stay_small() -> None:
    size = sum(path.stat().st_size for path in (RESULTS / "entries").rglob("*") if path.is_file())
    assert size <= MOST_BYTES, "see docs/submitting.md, What an entry may weigh"
