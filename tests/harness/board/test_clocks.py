"""Seconds, latency and success within a budget, by hand from the figures of ``clocked`` and ``builders``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.board.clocks import NO_CLOCK, TWO_SESSIONS
from harness.board.compare import compare_routers
from harness.board.table import build_board
from harness.errors import MixrouteError
from harness.metrics import BUDGETS
from harness.speed.rates import Rates
from harness.traces.contamination import write_seen
from harness.traces.pack import pack_run
from harness.traces.store import EPISODES
from tests.harness.board.builders import Play, Run, write_run
from tests.harness.board.clocked import write_clocks
from tests.harness.board.test_table import HIGH, MIX, row_of
from tests.harness.speed.cards import speed_card

LOW = Run("always-low", {"a": Play("l"), "b": Play("lllll", kind="clean")})


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Runs of always-high (six steps), every-k (one high and four low steps) and always-low (six steps)."""
    runs = {"high": HIGH, "mix": MIX, "low": LOW}
    return [write_run(tmp_path / name, run) for name, run in runs.items()]


def test_seconds_and_latency_by_hand(folders: list[Path]) -> None:
    write_clocks(folders, factors=(0.9, 1.1))
    board = build_board(folders)
    row, high = row_of(board, "every-k"), row_of(board, "always-high")
    assert row.clock is not None
    assert high.clock is not None
    assert high.cost["seconds"] == 1.0
    assert row.cost["seconds"] == pytest.approx(1.5 / 3.0)
    assert row.cost_absolute["seconds"] == pytest.approx(1.5 / 2)
    assert row.clock.episode_seconds == pytest.approx([0.9 * 0.75, 1.1 * 0.75])
    assert row.clock.episode_relative == pytest.approx([0.5, 0.5])
    assert row.clock.step_seconds == pytest.approx(1.5 / 5)
    assert row.clock.step_relative == pytest.approx((1.5 / 5) / (3.0 / 6))
    assert row.clock.spread == pytest.approx(0.2)
    assert row.clock.relative_spread == pytest.approx(0.0)
    assert (row.clock.concurrency, row.clock.instances, row.clock.machine) == (4, 2, "chip, 2 cores, 1 threads")
    # Steps: 1 s, the call, and 0.01 s of the router; each was measured twice.
    walls = sorted(1.01 + factor * one for factor in (0.9, 1.1) for one in (0.5, 0.25, 0.25, 0.25, 0.25))
    assert row.clock.step.n == 10
    assert row.clock.step.p50 == pytest.approx((walls[4] + walls[5]) / 2)
    assert row.clock.step.p99 == pytest.approx(walls[8] + 0.91 * (walls[9] - walls[8]))
    assert (row.clock.episode.n, row.clock.router_included) == (4, True)
    assert row.clock.episode.p50 == pytest.approx((2.02 + 1.1 * 0.75 + 3.03 + 0.9 * 0.75) / 2)
    (note,) = [note for note in row.notes if note.startswith("seconds")]
    assert "differ by 20.0% (median; at most 20.0%)" in note
    assert "as little as 0.50 CPU seconds a second: time them again" in note


def test_where_the_router_was_not_recorded_it_is_not_included(folders: list[Path]) -> None:
    write_clocks(folders)
    (folders[1] / "timings.jsonl").unlink()
    row = row_of(build_board(folders), "every-k")
    assert row.clock is not None
    assert not row.clock.router_included
    assert row.clock.episode.p50 == pytest.approx((2.75 + 3.75) / 2)
    assert row.clock.spread == 0.0


def test_a_row_without_a_clock_shows_no_seconds(folders: list[Path]) -> None:
    write_clocks(folders, kept=folders[:2])
    board = build_board(folders)
    row = row_of(board, "always-low")
    assert (row.cost["seconds"], row.cost_absolute["seconds"], row.clock) == (None, None, None)
    assert row.success_within["seconds"] is None
    assert NO_CLOCK in row.notes
    assert row_of(board, "every-k").cost["seconds"] == pytest.approx(0.5)
    assert row.cost["weight_bytes"] == pytest.approx(6_000 / 24_000)


def test_seconds_are_over_the_instances_that_were_timed(folders: list[Path]) -> None:
    write_clocks(folders, without=["b"])
    row = row_of(build_board(folders), "every-k")
    assert row.clock is not None
    assert row.clock.instances == 1
    assert row.cost["seconds"] == pytest.approx(0.75 / 2.0)
    assert row.cost_absolute["seconds"] == pytest.approx(0.75)
    assert row.cost["weight_bytes"] == pytest.approx(1 / 3)


def test_a_row_of_a_later_session_is_compared_with_the_always_high_of_that_session(folders: list[Path]) -> None:
    write_clocks(folders[:2])
    write_clocks([folders[0], folders[2]], session="2" * 16, factors=(10.0, 10.0), kept=[folders[2]])
    board = build_board(folders)
    low = row_of(board, "always-low")
    assert low.cost["seconds"] == pytest.approx(1.5 / 3.0)  # on a machine that is ten times slower
    assert low.cost_absolute["seconds"] == pytest.approx(7.5)
    assert any("rows of several sessions are compared by their ratio" in note for note in low.notes)
    (*_, compared) = compare_routers(folders, "always-low", "every-k")
    assert compared.figure == "relative_seconds"
    assert [compared.first, compared.second] == pytest.approx([0.5, 0.5])
    (same,) = (one for one in compare_routers(folders, "always-high", "every-k") if one.figure == "seconds")
    assert [same.first, same.second] == pytest.approx([1.5, 0.75])


def test_two_seeds_that_were_timed_in_two_sessions_make_no_seconds(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / str(seed), replace(MIX, seed=seed)) for seed in (0, 1)]
    write_clocks(folders[:1])
    write_clocks(folders[1:], session="2" * 16)
    row = row_of(build_board(folders), "every-k")
    assert (row.clock, row.cost_absolute["seconds"]) == (None, None)
    assert TWO_SESSIONS in row.notes


def test_without_always_high_seconds_are_relative_to_nothing(folders: list[Path]) -> None:
    write_clocks(folders[1:])
    row = row_of(build_board(folders), "every-k")
    assert row.cost["seconds"] is None
    assert row.cost_absolute["seconds"] == pytest.approx(0.75)
    assert "seconds are relative to nothing: no always-high was timed beside it" in row.notes


def test_a_speed_card_takes_the_place_of_what_was_measured(folders: list[Path]) -> None:
    plain = build_board(folders, Rates(speed_card(), 1, "card.json"))
    write_clocks(folders)
    assert build_board(folders, Rates(speed_card(), 1, "card.json")) == plain
    assert all(row.clock is None and row.cost["seconds"] for row in plain.rows)


def test_success_within_a_budget_by_hand(folders: list[Path]) -> None:
    write_clocks(folders)
    within = row_of(build_board(folders), "every-k").success_within
    # Game a succeeds, for one high and one low call of six: 5,000 bytes of 12,000 that always-high takes on the mean.
    assert within["weight_bytes"] == [0.5 if budget >= 0.42 else 0.0 for budget in BUDGETS]
    assert within["flops"] == [0.5 if budget >= 0.66 else 0.0 for budget in BUDGETS]
    assert within["seconds"] == [0.5 if budget >= 0.5 else 0.0 for budget in BUDGETS]
    alone = row_of(build_board(folders[1:]), "every-k").success_within
    assert (alone["weight_bytes"], alone["flops"]) == (None, None)
    assert alone["seconds"] == within["seconds"]  # the session had an always-high


def test_packed_clocks_read_the_same(folders: list[Path], tmp_path: Path) -> None:
    write_clocks(folders, factors=(0.9, 1.1))
    for folder in folders:
        write_seen(folder, [])
    entries = [pack_run(folder, tmp_path / "entries") for folder in folders]
    assert all((entry / "clock.jsonl.xz").exists() for entry in entries)
    ours, theirs = (
        [(row.cost, row.clock, row.success_within) for row in build_board(some).rows] for some in (folders, entries)
    )
    assert ours == theirs


def _cut(folder: Path) -> None:
    lines = (folder / "clock.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "clock.jsonl").write_bytes(b"".join(lines[:-1]))


def _replace(name: str, old: str, new: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return damage


def _fewer_steps(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "clock.jsonl").read_text().splitlines()]
    lines[0]["steps"].pop()
    (folder / "clock.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no lines": (lambda folder: (folder / "clock.jsonl").unlink(), "clock.jsonl has 0 of 2 passes"),
    "a pass is missing": (_cut, "has 1 of 2 passes of 'b'"),
    "a torn clock.json": (_replace("clock.json", "}", ""), "clock.json is no JSON"),
    "another schema": (_replace("clock.json", '"schema": 1', '"schema": 9'), "has schema 9"),
    "another run": (_replace("clock.json", '"run": "', '"run": "0'), "is of another run"),
    "a strange instance": (_replace("clock.json", '"a",', '"zz",'), "times instance 'zz'"),
    "an instance without a reference": (_replace("clock.json", '"a": [', '"zz": ['), "of other instances"),
    "no number": (_replace("clock.jsonl", '"wall":', '"wall":null,"x":'), "clock.jsonl:1 is corrupt"),
    "infinite": (_replace("clock.jsonl", '"wall":', '"wall":1e999,"x":'), "clock.jsonl:1 is corrupt"),
    "negative": (_replace("clock.jsonl", '"wall":', '"wall":-1'), "clock.jsonl:1 is corrupt"),
    "no time": (_replace("clock.jsonl", '"wall":2.75', '"wall":0.0'), "takes no time"),
    "the passes twice": (_replace("clock.jsonl", '"pass":1', '"pass":0'), "out of place"),
    "other steps": (_fewer_steps, f"other steps or calls than {EPISODES}"),
    "no passes": (_replace("clock.json", '"passes": 2', '"passes": 0'), "clock.json is not valid"),
    "a session with a path": (_replace("clock.json", '"session": "', '"session": "../'), "clock.json is not valid"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_clock_is_one_error_that_names_the_file(folders: list[Path], name: str) -> None:
    damage, message = DAMAGES[name]
    write_clocks(folders)
    damage(folders[1])
    with pytest.raises(MixrouteError, match="clock") as raised:
        build_board(folders)
    assert message in str(raised.value)
    assert "time the run again with `mixroute time`" in str(raised.value) or "delete" in str(raised.value)
    assert row_of(build_board(folders, leave_out=True), "always-high").cost["seconds"] == 1.0
