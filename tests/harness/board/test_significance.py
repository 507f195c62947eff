"""Which rows are compared with which, and that noise gets no stars."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from harness.board.rows import Row
from harness.board.significance import Against
from harness.board.table import build_board
from tests.harness.board.builders import Play, Run, write_run


def plays(steps: str, won: range | set[int], count: int = 40) -> dict[str, Play]:
    return {f"{place:03}": Play(steps, success=place in won) for place in range(count)}


def board(folder: Path, *runs: Run) -> dict[str, Row]:
    folders = [write_run(folder / str(number), run) for number, run in enumerate(runs)]
    return {row.label: row for row in build_board(folders).rows}


def compared(row: Row) -> dict[str, Against]:
    return {one.kind: one for one in row.against}


def test_a_row_meets_high_random_at_its_share_and_the_best_baseline_that_costs_no_more(tmp_path: Path) -> None:
    rows = board(
        tmp_path,
        Run("always-high", plays("hhh", range(38))),
        Run("always-low", plays("lll", range(10))),
        Run("random", plays("hll", range(20)), label="random third"),
        Run("random", plays("hhl", range(34)), label="random two thirds"),
        Run("agreement-oracle", plays("hll", range(39))),
        Run("dmr", plays("hll", range(36))),
    )
    found = compared(rows["dmr"])
    assert found["always-high"].difference.mean == -0.05
    assert (found["matched random"].label, found["matched random"].difference.mean) == ("random third", 0.4)
    assert (found["best baseline"].label, found["best baseline"].stars) == ("random third", "***")
    assert set(compared(rows["always-high"])) == set()
    assert set(compared(rows["always-low"])) == {"always-high"}
    assert set(compared(rows["random third"])) == {"always-high", "best baseline"}


def test_no_random_router_is_near_enough(tmp_path: Path) -> None:
    rows = board(tmp_path, Run("random", plays("hll", range(20))), Run("dmr", plays("hhl", range(20))))
    assert set(compared(rows["dmr"])) == {"best baseline"}


def test_corrected_values_grow_with_the_number_of_comparisons(tmp_path: Path) -> None:
    high, dmr = Run("always-high", plays("hhh", range(40))), Run("dmr", plays("hll", range(33)))
    few = compared(board(tmp_path / "few", high, dmr)["dmr"])["always-high"]
    others = [Run("first-k", plays("hll", range(33)), args={"k": k}, label=f"first {k}") for k in range(6)]
    many = compared(board(tmp_path / "many", high, dmr, *others)["dmr"])["always-high"]
    assert few.p == few.p_holm == many.p
    assert few.p is not None
    assert many.p_holm is not None
    assert many.p_holm > few.p
    assert (few.stars, many.stars) == ("*", "")


def test_noise_seldom_gets_a_star(tmp_path: Path) -> None:
    """Five routers that win half of the games by chance: a star in a section is a false alarm; 5% are allowed."""
    alarms = 0
    for trial in range(20):
        rng = random.Random(trial)
        runs = [
            Run("first-k", plays("hl", {place for place in range(40) if rng.random() < 0.5}), label=f"first {k}")
            for k in range(5)
        ]
        runs = [replace(run, args={"k": number}) for number, run in enumerate(runs)]
        rows = board(tmp_path / str(trial), Run("always-high", plays("hh", {*range(0, 40, 2)})), *runs)
        alarms += any(one.stars for row in rows.values() for one in row.against if one.kind == "always-high")
    assert alarms <= 4  # 99.7% of binomial(20, 0.05)
