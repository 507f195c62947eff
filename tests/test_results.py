"""What the repository publishes: every entry holds, and the board is computed from them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness.board import write_board
from harness.traces.store import find_runs, read_meta
from harness.verify.entries import verify_entries
from tests.shared_data import REPOSITORY, shared

RESULTS = REPOSITORY / "results"
DATA = {"alfworld": "ALFWORLD_DATA", "webshop": "WEBSHOP_DATA"}


TASKS = [("alfworld-gen", "webshop-gen"), ("arith-gen",), ("alfworld",), ("webshop",)]
MOST_BYTES = 30_000_000
ONE_IN = 4
"""One of so many entries of a router on a task is verified in every run of the tests; all of them with ``-m slow``."""

# Why a check of a published entry may be missing: by check and by the entry's router or pool. Nothing else may be.
HIDDEN = "the router cannot run on a trace alone: RuntimeError: it reads hidden states, which traces do not hold"
UNCHECKED = {
    ("the router decides as the trace says", "kl-sft"): HIDDEN,
    ("the router decides as the trace says", "kl-oracle"): "and a trace holds no token ids",
    # A command of the suite makes this pool; with its file at hand, the tokens are counted.
    ("tokens in the ledger are those of the prompts and texts", "ladder-gptq-w4"): "pool.yaml does not exist",
}


def entries(*tasks: str) -> list[Path]:
    return [folder for folder in find_runs(RESULTS / "entries") if read_meta(folder).task in tasks]


def sample(folders: list[Path]) -> list[Path]:
    """The first of every ``ONE_IN`` entries of one router on one task, in order of name."""
    kinds: dict[tuple[str, str, str], list[Path]] = {}
    for folder in folders:
        meta = read_meta(folder)
        kinds.setdefault((meta.task, meta.router, meta.pool), []).append(folder)
    return sorted(folder for several in kinds.values() for folder in several[::ONE_IN])


def assert_verified(folders: list[Path], tasks: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    for task in DATA.keys() & set(tasks):
        monkeypatch.setenv(DATA[task], str(shared("data", task)))
    assert folders
    metas = {folder.name: read_meta(folder) for folder in folders}
    for verdict in verify_entries(folders):
        assert verdict.status != "failed", verdict
        meta = metas[verdict.entry]
        for result in verdict.results:
            if result.status == "unchecked":
                reasons = [UNCHECKED.get((result.check, name)) for name in (meta.router, meta.pool)]
                assert any(reason and reason in result.details[0] for reason in reasons), (verdict.entry, result)


@pytest.mark.parametrize("tasks", TASKS)
def test_published_entries_are_verified(tasks: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    assert_verified(sample(entries(*tasks)), tasks, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("tasks", TASKS)
def test_every_published_entry_is_verified(tasks: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    assert_verified(entries(*tasks), tasks, monkeypatch)


def test_no_published_entry_is_left_out() -> None:
    verified = entries(*(task for tasks in TASKS for task in tasks))
    assert verified == sorted(path for path in (RESULTS / "entries").iterdir() if path.is_dir())


def test_the_published_entries_stay_small() -> None:
    size = sum(path.stat().st_size for path in (RESULTS / "entries").rglob("*") if path.is_file())
    assert size <= MOST_BYTES, "see docs/submitting.md, What an entry may weigh"


def test_the_published_board_is_that_of_the_entries(tmp_path: Path) -> None:
    write_board(find_runs(RESULTS / "entries"), tmp_path)
    for name in ("board.md", "board.tex"):
        assert (tmp_path / name).read_text() == (RESULTS / name).read_text(), f"run mixroute board: {name} is stale"
    ours, theirs = (json.loads((folder / "board.json").read_text()) for folder in (tmp_path, RESULTS))
    assert_close(ours, theirs)
    ours, theirs = (split((folder / "index.html").read_text()) for folder in (tmp_path, RESULTS))
    assert ours[::2] == theirs[::2], "run mixroute board: index.html is stale"
    assert_close(json.loads(ours[1]), json.loads(theirs[1]))


def split(page: str) -> list[str]:
    """The page before its data, the data, and the page after it."""
    found = re.split('(?<=<script type="application/json" id="data">)(.*?)(?=</script>)', page, flags=re.DOTALL)
    assert len(found) == 3
    return found


def assert_close(ours: Any, theirs: Any) -> None:
    """Equal, but for the last digits of numbers."""
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_close(ours[key], theirs[key])
    elif isinstance(ours, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_close(one, other)
    elif isinstance(ours, float):
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)
    else:
        assert ours == theirs
