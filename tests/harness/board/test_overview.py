"""The overview: which row is best within a budget, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.board.overview import BestWithinBudget, overview_lines
from harness.board.table import build_board
from harness.traces.evidence import Evidence, VerdictRecord, entry_digest
from tests.harness.board.builders import Play, Run, write_run
from tests.harness.board.clocked import write_clocks

GAMES = [f"game/{number:03}" for number in range(200)]


def plays(steps: str, won: range, games: int = len(GAMES)) -> dict[str, Play]:
    """Games of which those in ``won`` are won."""
    return {game: Play(steps, success=place in won) for place, game in enumerate(GAMES[:games])}


HIGH = Run("always-high", plays("hhhh", range(190)))
LOW = Run("always-low", plays("llll", range(40)))
RANDOM = Run("random", plays("hlll", range(80)), args={"p": 0.25})
DMR = Run("dmr", plays("hlll", range(188)))  # 1.75 of 4 costs
RULE = Run("every-k", plays("hlhl", range(150)))  # 2.5 of 4
ORACLE = Run("agreement-oracle", plays("lll", range(200)))


def overview(tmp_path: Path, *runs: Run) -> dict[tuple[str, float], BestWithinBudget]:
    board = build_board([write_run(tmp_path / f"run{number}", run) for number, run in enumerate(runs)])
    return {(one.cost_model, one.budget): one for one in board.overview()}


def test_the_best_row_within_a_budget_and_what_tells_it_from_others(tmp_path: Path) -> None:
    found = overview(tmp_path, HIGH, LOW, RANDOM, DMR, RULE, ORACLE)
    best = found["weight_bytes", 0.75]
    assert best.label == "dmr"
    saved, high, random, rule = best.verdict.split("; ")
    assert saved == "saves 56% of weight bytes"
    assert high.startswith("not told from always-high (-1.0 [-2.5, ")
    assert random == "54.0 points above random at its share (p < 0.001)"
    assert rule == "54.0 points above random, the best untrained row (p < 0.001)"


def test_an_untrained_row_is_named_as_such(tmp_path: Path) -> None:
    best = overview(tmp_path, HIGH, LOW, RANDOM, RULE)["weight_bytes", 0.75]
    assert best.label == "every-k"
    assert best.verdict == (
        "saves 38% of weight bytes; 20.0 points below always-high (p < 0.001); untrained (baseline)"
    )
    assert overview(tmp_path / "two", HIGH, LOW)["weight_bytes", 0.75].verdict.endswith("; one model alone")


def test_where_no_row_costs_so_little_the_cheapest_is_named(tmp_path: Path) -> None:
    found = overview(tmp_path, HIGH, replace(RULE, plays=plays("hhhl", range(150))))
    assert found["weight_bytes", 0.75].label == ""
    assert (
        found["weight_bytes", 0.75].verdict == "none; the cheapest, every-k, takes 0.81 of always-high's weight bytes"
    )
    assert found["weight_bytes", 0.9].label == "every-k"


def test_equal_success_goes_to_the_cheaper_row(tmp_path: Path) -> None:
    dearer = replace(RULE, plays=plays("hlhl", range(188)))
    assert overview(tmp_path, HIGH, dearer, DMR)["weight_bytes", 0.75].label == "dmr"


def test_a_section_without_always_high_or_with_nothing_else_says_nothing(tmp_path: Path) -> None:
    assert overview(tmp_path / "one", LOW, DMR) == {}
    assert overview(tmp_path / "two", HIGH) == {}


def test_few_instances_are_said(tmp_path: Path) -> None:
    runs = [replace(run, plays=dict(list(run.plays.items())[:29])) for run in (HIGH, DMR)]
    assert overview(tmp_path, *runs)["weight_bytes", 0.75].verdict.endswith("; only 29 instances")


def test_rows_that_failed_verification_or_broke_off_are_not_chosen(tmp_path: Path) -> None:
    broken = replace(RULE, planned=[*GAMES, "one more"])
    folders = [write_run(tmp_path / f"run{number}", run) for number, run in enumerate((HIGH, DMR, broken, LOW))]
    verdict = VerdictRecord(folders[1].name, entry_digest(folders[1]), "failed", [])
    board = build_board(folders, evidence=Evidence({verdict.digest: verdict}))
    best = {one.budget: one.label for one in board.overview() if one.cost_model == "weight_bytes"}
    assert set(best.values()) == {"always-low"}


def test_seconds_are_those_that_were_measured(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / f"run{number}", run) for number, run in enumerate((HIGH, DMR))]
    write_clocks(folders)
    found = {(one.cost_model, one.budget): one for one in build_board(folders).overview()}
    assert found["seconds", 0.75].verdict.startswith("saves 38% of measured seconds")


def test_one_line_a_section(tmp_path: Path) -> None:
    limited = [replace(run, limit=200) for run in (HIGH, DMR)]
    board = build_board([write_run(tmp_path / f"run{number}", run) for number, run in enumerate([HIGH, DMR, *limited])])
    lines = overview_lines(board.overview())
    assert [line.partition(": ")[0] for line in lines] == [
        "alfworld valid_unseen, pool toy",
        "alfworld valid_unseen, pool toy, limit 200",
    ]
    assert all("dmr: saves 56% of weight bytes" in line for line in lines)


@pytest.mark.parametrize("won", [range(100), range(200)])
def test_a_significant_difference_has_a_direction(tmp_path: Path, won: range) -> None:
    board = overview(tmp_path, replace(HIGH, plays=plays("hhhh", range(150))), replace(DMR, plays=plays("hlll", won)))
    word = "below" if len(won) == 100 else "above"
    assert f"25.0 points {word} always-high (p < 0.001)" in board["weight_bytes", 0.75].verdict
