"""``mixroute compare``: two routers, the figures of both, and what their difference is worth."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.board.compare import compare_routers
from harness.speed.rates import Rates
from harness.traces.store import read_meta
from mixroute import MixrouteError
from tests.command import mixroute
from tests.harness.board.builders import Play, Run, write_run
from tests.harness.board.clocked import write_clocks
from tests.harness.speed.cards import speed_card

GAMES = [f"game {number:02}" for number in range(12)]


def write(folder: Path) -> list[Path]:
    better = Run("better", {game: Play("hl", success=True) for game in GAMES})
    worse = Run("worse", {game: Play("ll", success=number % 2 == 0) for number, game in enumerate(GAMES)})
    drawn = [Run("drawn", {game: Play("hh", success=seed == 0) for game in GAMES}, seed=seed) for seed in range(3)]
    return [write_run(folder / str(number), run) for number, run in enumerate((better, worse, *drawn))]


def test_a_difference_comes_with_all_that_it_takes_to_judge_it(tmp_path: Path) -> None:
    success, score, share, bytes_, flops = compare_routers(write(tmp_path), "better", "worse")
    assert (success.first, success.second, success.difference.difference.mean) == (1.0, 0.5, 0.5)
    assert success.difference.p == 2 / 2**6  # six games differ
    assert (success.difference.pairs, success.difference.clusters) == (12, 12)
    assert success.instances_for_gap is not None
    assert success.instances_for_gap > 700  # five points, with a spread of half a game a game
    assert score.figure == "score"
    assert (share.first, share.second) == (0.5, 0.0)
    assert (bytes_.figure, bytes_.unit) == ("weight_bytes", "GB")  # no always-high in the group
    assert bytes_.first == pytest.approx(5_000e-9)  # one call of high, one of low
    assert (flops.first, flops.second) == (3_600e-9, 3_600e-9)


def test_seeds_of_a_router_that_draws_count_as_one(tmp_path: Path) -> None:
    success, *_ = compare_routers(write(tmp_path), "better", "drawn")
    assert success.second == pytest.approx(1 / 3)
    assert success.difference.pairs == 12
    assert success.difference.difference.mean == pytest.approx(2 / 3)


def test_an_unknown_router_is_named(tmp_path: Path) -> None:
    with pytest.raises(MixrouteError, match="both 'better' and 'none'; there are: better, drawn, worse"):
        compare_routers(write(tmp_path), "better", "none")


def test_routers_that_share_a_label_are_told_apart(tmp_path: Path) -> None:
    def run(router: str, won: bool, **args: int) -> Run:
        return Run(router, {game: Play("h", success=won) for game in GAMES}, label="mine", args=args)

    runs = [run("good", True), run("bad", False), run("bad", True, k=3)]
    folders = [write_run(tmp_path / f"mine{number}", one) for number, one in enumerate(runs)]
    folders.append(write_run(tmp_path / "other", Run("other", {game: Play("h", success=False) for game in GAMES})))
    hashes = [read_meta(folder).hash[:8] for folder in folders]
    with pytest.raises(MixrouteError) as error:
        compare_routers(folders, "mine", "other")
    for text in ("3 routers", "LABEL@HASH", *(f"'mine@{one}' is" for one in hashes[:3]), "bad with {'k': 3}"):
        assert text in str(error.value)
    with pytest.raises(MixrouteError, match="2 routers"):
        compare_routers(folders, "mine@bad", "other")
    for name, won in (("mine@good", 1.0), (f"mine@{hashes[1]}", 0.0), (f"mine@{hashes[2]}", 1.0)):
        assert compare_routers(folders, name, "other")[0].first == won
    with pytest.raises(MixrouteError, match="no group"):
        compare_routers(folders, "mine@", "other")


def test_runs_of_other_limits_are_compared_on_what_both_have_played(tmp_path: Path) -> None:
    runs = [
        Run("whole", {game: Play("h") for game in GAMES}),
        Run("sample", {game: Play("l", success=False) for game in GAMES[:4]}, limit=4),
        Run("sample", {game: Play("l", success=False) for game in GAMES[:6]}, limit=6),
        Run("both", {game: Play("l") for game in GAMES[:4]}, limit=4),
        Run("both", {game: Play("l") for game in GAMES}),
    ]
    for number, run in enumerate(runs):
        write_run(tmp_path / "runs" / str(number), run)
    folders = sorted((tmp_path / "runs").iterdir())
    success, *_ = compare_routers(folders, "whole", "sample")
    assert (success.limits, success.difference.pairs, success.difference.difference.mean) == ((None, 6), 6, 1.0)
    assert {one.limits for one in compare_routers(folders, "sample", "both")} == {(4, 4)}
    assert {one.limits for one in compare_routers(folders, "whole", "both")} == {(None, None)}
    shown = mixroute("compare", "runs", "whole", "sample", cwd=tmp_path).stdout
    assert "whole and sample have played all instances and a sample of 6" in shown


def test_costs_are_relative_to_always_high(tmp_path: Path) -> None:
    runs = [Run("always-high", {game: Play("hh") for game in GAMES}), Run("low", {game: Play("ll") for game in GAMES})]
    folders = [write_run(tmp_path / run.router, run) for run in runs]
    found = {one.figure: one for one in compare_routers(folders, "low", "always-high")}
    cost = found["weight_bytes"]
    assert (cost.unit, cost.first, cost.second, cost.difference.difference.mean) == ("always-high = 1", 0.25, 1, -0.75)


def test_the_share_of_high_is_that_of_the_board(tmp_path: Path) -> None:
    """Of all steps, not the mean over episodes; its interval is as wide as that of the ratio."""
    uneven = {game: Play("h" if place % 2 else "llll") for place, game in enumerate(GAMES)}
    folders = [write_run(tmp_path / "uneven", Run("uneven", uneven))]
    folders.append(write_run(tmp_path / "low", Run("low", {game: Play("ll") for game in GAMES})))
    (share,) = (one for one in compare_routers(folders, "uneven", "low") if one.figure == "high_share")
    assert share.first == pytest.approx(6 / 30)
    assert share.difference.difference.mean == pytest.approx(0.2)
    # Linearised, the two kinds of games count 0.52 and -0.12: of 12 that are drawn, 3 to 9 are of the first kind.
    limits = share.difference.difference
    assert [limits.low, limits.high] == pytest.approx([-0.12 + 3 / 12 * 0.64, -0.12 + 9 / 12 * 0.64])


def test_wall_times_are_compared_within_a_session(tmp_path: Path) -> None:
    runs = [Run("always-high", {game: Play("hh") for game in GAMES}), Run("low", {game: Play("lll") for game in GAMES})]
    folders = [write_run(tmp_path / run.router, run) for run in runs]
    write_clocks(folders)
    found = {one.figure: one for one in compare_routers(folders, "low", "always-high")}
    episode, step = found["episode_wall"], found["step_wall"]
    assert episode.unit == step.unit == "s"
    assert episode.first == pytest.approx(3 * step.first)
    assert episode.second == pytest.approx(2 * step.second)


def test_one_hash_names_all_seeds_of_a_row(tmp_path: Path) -> None:
    folders = write(tmp_path)
    success, *_ = compare_routers(folders, "better", f"drawn@{read_meta(folders[3]).hash[:10]}")
    assert success.second == pytest.approx(1 / 3)


def test_seconds_of_an_episode_with_an_error_are_at_least_those_of_always_high(tmp_path: Path) -> None:
    plays = {game: Play("hh") for game in GAMES}
    crashed = Run("crash", {game: Play("", success=False, error="boom") for game in GAMES})
    runs = [Run("always-high", plays), crashed, Run("always-low", {game: Play("ll") for game in GAMES})]
    folders = [write_run(tmp_path / run.router, run) for run in runs]
    *_, seconds = compare_routers(folders, "crash", "always-low", Rates(speed_card(), 1, "card.json"))
    assert seconds.figure == "gpu_seconds"
    assert seconds.first >= seconds.second > 0


def test_the_command_prints_the_table(tmp_path: Path) -> None:
    write(tmp_path / "runs")
    shown = mixroute("compare", "runs", "better", "worse", cwd=tmp_path).stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert "+50.0" in shown
    assert "0.0312" in shown
