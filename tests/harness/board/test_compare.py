"""``mixroute compare``: two routers, the figures of both, and what their difference is worth."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.board.compare import compare_routers
from mixroute import MixrouteError
from tests.command import mixroute
from tests.harness.board.builders import Play, Run, write_run

GAMES = [f"game {number:02}" for number in range(12)]


def write(folder: Path) -> list[Path]:
    better = Run("better", {game: Play("hl", success=True) for game in GAMES})
    worse = Run("worse", {game: Play("ll", success=number % 2 == 0) for number, game in enumerate(GAMES)})
    drawn = [Run("drawn", {game: Play("hh", success=seed == 0) for game in GAMES}, seed=seed) for seed in range(3)]
    return [write_run(folder / str(number), run) for number, run in enumerate((better, worse, *drawn))]


def test_a_difference_comes_with_all_that_it_takes_to_judge_it(tmp_path: Path) -> None:
    success, score, share = compare_routers(write(tmp_path), "better", "worse")
    assert (success.first, success.second, success.difference.difference.mean) == (1.0, 0.5, 0.5)
    assert success.difference.p == 2 / 2**6  # six games differ
    assert (success.difference.pairs, success.difference.clusters) == (12, 12)
    assert success.instances_for_gap is not None
    assert success.instances_for_gap > 700  # five points, with a spread of half a game a game
    assert score.figure == "score"
    assert (share.first, share.second) == (0.5, 0.0)


def test_seeds_of_a_router_that_draws_count_as_one(tmp_path: Path) -> None:
    success, *_ = compare_routers(write(tmp_path), "better", "drawn")
    assert success.second == pytest.approx(1 / 3)
    assert success.difference.pairs == 12
    assert success.difference.difference.mean == pytest.approx(2 / 3)


def test_an_unknown_router_is_named(tmp_path: Path) -> None:
    with pytest.raises(MixrouteError, match="both 'better' and 'none'; there are: better, drawn, worse"):
        compare_routers(write(tmp_path), "better", "none")


def test_the_command_prints_the_table(tmp_path: Path) -> None:
    write(tmp_path / "runs")
    shown = mixroute("compare", "runs", "better", "worse", cwd=tmp_path).stdout
    assert "+50.0" in shown
    assert "0.0312" in shown
