"""Published entries on the board: labels, curves and seeds are those of the shipped suites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.board.rows import Row
from harness.board.table import Board, build_board
from harness.plugins import complete_arguments
from harness.registry import tasks
from harness.traces.contamination import write_seen
from harness.traces.pack import pack_run
from tests.harness.board.builders import Play, Run, write_run

GAMES = [f"game {number}" for number in range(6)]
ARGS = {key: value for key, value in complete_arguments(tasks, "alfworld", {}).items() if key not in ("data", "split")}


def run(router: str, steps: str, won: int, **changes: object) -> Run:
    """A run of suite ``dmr-alfworld``, as far as its settings go."""
    plays = {game: Play(steps, success=place < won) for place, game in enumerate(GAMES)}
    whole = Run(router, plays, config={"task": "alfworld", "task_args": ARGS})
    return replace(whole, **changes)  # type: ignore[arg-type]


HIGH, LOW = run("always-high", "hhh", 5), run("always-low", "lll", 2)


def board(root: Path, runs: Sequence[Run], *, published: bool = True) -> Board:
    folders = [write_run(root / "runs" / str(number), run) for number, run in enumerate(runs)]
    for folder in folders:
        write_seen(folder, [])
    return build_board([pack_run(folder, root / "entries") for folder in folders] if published else folders)


def rows(board: Board, label: str) -> list[Row]:
    return [row for row in board.rows if row.label == label]


def test_seeds_that_no_suite_plans_join_no_row(tmp_path: Path) -> None:
    bad_high = run("always-high", "hhhhhhhhh", 0, seed=2)
    lucky = run("random", "lll", 6, args={"p": 0.3}, seed=17, label="random(p=0.3)")
    planned = run("random", "hll", 3, args={"p": 0.3})
    found = board(tmp_path, [HIGH, LOW, bad_high, planned, lucky])
    assert [row.success.mean for row in rows(found, "always-high")] == [5 / 6, 0.0]
    assert sorted(row.seeds for row in found.rows) == [1] * 5
    (cheap,) = (row for row in found.rows if row.entry[0].seed == 17)
    assert cheap.success.mean == 1
    assert not cheap.pareto
    assert not cheap.ranked
    assert not cheap.against
    assert "seed 17 is not one of suite dmr-alfworld: a row of its own" in cheap.notes[0]
    assert all(one.label != "random(p=0.3)" or one.difference.mean == 0 for row in found.rows for one in row.against)
    (low,) = rows(found, "always-low")
    assert low.cost["weight_bytes"] == 0.25  # not by the longer games of seed 2
    assert low.pareto


def test_planned_seeds_are_one_row(tmp_path: Path) -> None:
    seeds = [run("random", "hll", 3, args={"p": 0.3}, seed=seed) for seed in range(3)]
    (row,) = rows(board(tmp_path, seeds), "random(p=0.3)")
    assert row.seeds == 3


def test_label_and_curve_are_those_of_the_suite(tmp_path: Path) -> None:
    rival = run("every-k", "hll", 4, args={"k": 3}, label="dmr", curve="kl-sft checked")
    found = board(tmp_path, [HIGH, LOW, rival])
    (row,) = rows(found, "every-k(k=3)")
    assert row.curve == ""
    assert found.curves == ()
    assert "labelled as in suite dmr-alfworld, not 'dmr'" in row.notes
    assert "curve 'kl-sft checked' is not the one of suite dmr-alfworld: ignored" in row.notes


def test_a_router_of_no_suite_joins_no_curve_of_one(tmp_path: Path) -> None:
    mine = run("mine.py:Mine", "hll", 4, curve="kl-sft checked", label="mine")
    found = board(tmp_path, [HIGH, LOW, mine, replace(mine, router="also.py:Mine", curve="mine", label="also")])
    assert [curve.name for curve in found.curves] == ["mine"]
    assert any("is a shipped suite's" in note for note in rows(found, "mine")[0].notes)


@pytest.mark.parametrize(
    "changes",
    [{"args": {"k": 4}}, {"limit": 6}, {"config": {"task": "alfworld", "task_args": {**ARGS, "step_cap": 9}}}],
)
def test_other_settings_are_no_suites(tmp_path: Path, changes: dict[str, object]) -> None:
    other = replace(run("every-k", "hll", 4, args={"k": 3}, label="mine", seed=5), **changes)  # type: ignore[arg-type]
    (row,) = rows(board(tmp_path, [other]), "mine")
    assert row.pareto


def test_runs_that_are_not_packed_are_the_readers_own(tmp_path: Path) -> None:
    mine = run("every-k", "hll", 4, args={"k": 3}, label="mine", curve="kl-sft checked")
    found = board(tmp_path, [HIGH, LOW, mine, replace(mine, seed=1)], published=False)
    (row,) = rows(found, "mine")
    assert (row.seeds, row.curve, row.pareto) == (2, "kl-sft checked", True)
