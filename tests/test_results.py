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


def entries(*tasks: str) -> list[Path]:
    return [folder for folder in find_runs(RESULTS / "entries") if read_meta(folder).task in tasks]


@pytest.mark.parametrize("tasks", [("alfworld-gen", "webshop-gen"), ("alfworld",), ("webshop",)])
def test_every_published_entry_is_verified(tasks: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    for task in DATA.keys() & set(tasks):
        monkeypatch.setenv(DATA[task], str(shared("data", task)))
    folders = entries(*tasks)
    assert folders
    for verdict in verify_entries(folders):
        assert verdict.status != "failed", verdict
        # A router that reads hidden states, or whose source has changed since, cannot decide again from a trace.
        unchecked = {result.check for result in verdict.results if result.status == "unchecked"}
        assert unchecked <= {"the router decides as the trace says"}, verdict


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
