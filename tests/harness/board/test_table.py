"""Every column against numbers worked out by hand from the costs in ``builders``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.board.clocks import NO_CLOCK
from harness.board.curves import RoutingMetrics
from harness.board.notes import NOT_ISOLATED
from harness.board.render import title
from harness.board.rows import Row
from harness.board.table import Board, build_board
from harness.errors import MixrouteError
from harness.metrics import Estimate, clustered_mean, wilson
from harness.traces.cost import Costs
from tests.harness.board.builders import CARDS, PROTOCOL, Play, Run, pack, write_run

HIGH = Run("always-high", {"a": Play("hhhh"), "b": Play("hh", success=False, kind="clean")})
MIX = Run("every-k", {"a": Play("hl"), "b": Play("llxl", success=False, kind="clean")})


UNKNOWN: Costs = {"weight_bytes": None, "flops": None, "seconds": None}


def costs(weight_bytes: float, flops: float) -> Costs:
    """Costs of runs that were not timed."""
    return {"weight_bytes": weight_bytes, "flops": flops, "seconds": None}


def board_of(root: Path, *runs: Run) -> Board:
    return build_board([write_run(root / str(index), run) for index, run in enumerate(runs)])


def row_of(board: Board, label: str) -> Row:
    (row,) = [row for row in board.rows if row.label == label]
    return row


def test_columns_by_hand(tmp_path: Path) -> None:
    row = row_of(board_of(tmp_path, HIGH, MIX), "every-k")
    assert (row.task, row.split, row.pool, row.router) == ("alfworld", "valid_unseen", "toy", "every-k")
    assert (row.instances, row.episodes, row.planned, row.errors, row.seeds) == (2, 2, 2, 0, 1)
    assert row.success == Estimate(0.5, 0.0, 1.0)
    assert row.score.mean == 0.5
    assert row.steps == 2.5
    assert row.invalid_share == pytest.approx(1 / 5)
    assert row.high_share == pytest.approx(1 / 5)
    # One high and four low steps, against six high steps.
    assert row.cost == costs((4_000 + 4 * 1_000) / 24_000, 5 / 6)
    assert row.cost_absolute == costs(8_000 / 2, 5 * 1_800 / 2)
    assert row.notes == [NO_CLOCK]
    assert {kind: (found.n, found.success.mean) for kind, found in row.by_kind.items()} == {
        "clean": (1, 0.0),
        "pick": (1, 1.0),
    }
    assert [(source.folder, source.seed) for source in row.entry] == [("1", 0)]


def test_routers_that_are_not_shipped_are_said_not_to_be_isolated(tmp_path: Path) -> None:
    board = board_of(tmp_path, HIGH, MIX, Run("mine.py:Mine", {"a": Play("l")}), Run("last-k", {"a": Play("l")}))
    assert {row.label for row in board.rows if NOT_ISOLATED in row.notes} == {"mine.py:Mine", "last-k"}


def test_always_high_costs_one(tmp_path: Path) -> None:
    assert row_of(board_of(tmp_path, HIGH, MIX), "always-high").cost == costs(1.0, 1.0)


def test_without_always_high_cost_is_null_with_a_reason(tmp_path: Path) -> None:
    (row,) = board_of(tmp_path, MIX).rows
    assert row.cost == UNKNOWN
    assert row.cost_absolute["weight_bytes"] == 4_000
    assert "no always-high run in this group" in row.notes[0]
    assert row.pareto


def test_cost_is_compared_on_the_same_episodes_alone(tmp_path: Path) -> None:
    more = replace(MIX, plays={**MIX.plays, "y": Play("l" * 30), "z": Play("l" * 30)})
    row = row_of(board_of(tmp_path, HIGH, more), "every-k")
    assert row.episodes == 4
    assert row.cost["weight_bytes"] == pytest.approx(8_000 / 24_000)  # the others would make it far dearer
    assert "over the 2 of 4 episodes" in row.notes[0]


def test_each_seed_is_compared_with_always_high_of_that_seed(tmp_path: Path) -> None:
    long = Run("always-high", {"a": Play("h" * 8), "b": Play("h" * 8)}, seed=1)
    row = row_of(board_of(tmp_path, HIGH, long, replace(MIX, seed=1)), "every-k")
    assert row.cost["weight_bytes"] == pytest.approx(8_000 / (16 * 4_000))


def test_several_always_high_rows_are_said_and_the_plain_one_counts(tmp_path: Path) -> None:
    longer = Run("always-high", {"a": Play("h" * 8), "b": Play("h" * 8)}, label="a-high", args={"x": 1})
    row = row_of(board_of(tmp_path, longer, HIGH, MIX), "every-k")
    assert row.cost["weight_bytes"] == pytest.approx(8_000 / 24_000)
    assert "by the one labelled 'always-high'" in row.notes[0]


def test_always_high_that_costs_nothing_does_not_normalise(tmp_path: Path) -> None:
    nothing = Run("always-high", {"a": Play(""), "b": Play("")})
    row = row_of(board_of(tmp_path, nothing, MIX), "every-k")
    assert row.cost["weight_bytes"] is None
    assert row.cost["flops"] is None
    assert "that of always-high is 0" in row.notes[0]


def test_steps_that_nobody_judged_are_not_invalid(tmp_path: Path) -> None:
    some = row_of(board_of(tmp_path / "some", Run("r", {"a": Play("lxl?ll")})), "r")
    none = row_of(board_of(tmp_path / "none", Run("r", {"a": Play("l?l?")})), "r")
    assert (some.invalid_share, none.invalid_share) == (0.25, None)


def test_an_episode_that_failed_before_its_first_step(tmp_path: Path) -> None:
    folder = write_run(tmp_path, Run("r", {"a": Play("", success=False, error="no game")}))
    (row,) = build_board([folder]).rows
    assert (row.steps, row.high_share, row.errors) == (0.0, None, 1)
    assert row.cost_absolute == costs(0.0, 0.0)
    (folder / "timings.jsonl").unlink()
    assert build_board([folder]).rows[0].cost_absolute == costs(0.0, 0.0)


def test_always_high_of_other_seeds_normalises_by_its_mean_on_the_instance(tmp_path: Path) -> None:
    same = row_of(board_of(tmp_path / "same", HIGH, MIX), "every-k")
    other = row_of(board_of(tmp_path / "other", HIGH, replace(HIGH, seed=2), replace(MIX, seed=1)), "every-k")
    assert other.cost == same.cost


def test_always_high_on_other_instances_alone_does_not_normalise(tmp_path: Path) -> None:
    row = row_of(board_of(tmp_path, HIGH, replace(MIX, plays={"z": Play("l")})), "every-k")
    assert row.cost == UNKNOWN
    assert "played none of these instances" in row.notes[0]


def test_an_error_is_a_failure_whatever_the_line_says(tmp_path: Path) -> None:
    failed = replace(MIX, plays={"a": Play("hl", success=True, score=0.75, error="boom"), "b": Play("l")})
    row = row_of(board_of(tmp_path, failed), "every-k")
    assert row.errors == 1
    assert row.success.mean == 0.5
    assert row.score.mean == pytest.approx((0.75 + 1.0) / 2)


def test_a_router_that_crashes_is_charged_as_always_high_and_off_the_front(tmp_path: Path) -> None:
    crashing = Run("crash", {key: Play("", success=False, error="boom") for key in "ab"})
    board = board_of(tmp_path / "all", HIGH, MIX, crashing)
    row = row_of(board, "crash")
    assert row.cost == costs(1.0, 1.0)
    assert row.cost_absolute == row_of(board, "always-high").cost_absolute
    assert not row.pareto
    assert row.notes == [
        "2 of 2 episodes ended in an error: each is charged at least what always-high costs on its instance, where "
        "that is known; kept off the Pareto front",
        NOT_ISOLATED,
        NO_CLOCK,
    ]
    # One that breaks off where it would lose pushes nobody off the front, however good it looks.
    fails_cheaply = replace(MIX, router="fails", plays={"a": Play("l"), "b": Play("", success=False, error="boom")})
    board = board_of(tmp_path / "one", HIGH, MIX, fails_cheaply)
    row = row_of(board, "fails")
    assert row.cost == costs((1_000 + 8_000) / 24_000, 3 / 6)
    assert not row.pareto
    assert row_of(board, "every-k").pareto


def test_an_error_that_costs_more_than_always_high_is_charged_in_full(tmp_path: Path) -> None:
    late = Run("late", {"a": Play("hhhhhh", success=False, error="boom"), "z": Play("l", success=False, error="boom")})
    row = row_of(board_of(tmp_path, HIGH, late), "late")
    assert row.cost_absolute == costs((24_000 + 1_000) / 2, 7 * 1_800 / 2)


def test_two_seeds_are_one_row_clustered_on_the_instance(tmp_path: Path) -> None:
    second = replace(MIX, seed=1, plays={"a": Play("l"), "b": Play("l", kind="clean"), "c": Play("l", success=False)})
    row = row_of(board_of(tmp_path, MIX, second), "every-k")
    assert (row.seeds, row.instances, row.episodes, row.planned) == (2, 3, 5, 5)
    assert row.success == clustered_mean([True, True, False, True, False], ["a", "a", "b", "b", "c"])
    assert [source.seed for source in row.entry] == [0, 1]


def test_other_arguments_are_another_row_and_fitted_ones_are_not(tmp_path: Path) -> None:
    twice = replace(MIX, args={"k": 2})
    fitted = replace(MIX, seed=1, fitted={"threshold": 0.5})
    rows = board_of(tmp_path, MIX, twice, fitted).rows
    assert sorted((row.seeds, len(row.entry)) for row in rows) == [(1, 1), (2, 2)]
    assert all(any("same label" in note for note in row.notes) for row in rows)
    assert any("fitted for each seed" in note for row in rows for note in row.notes)


def test_groups_are_never_mixed(tmp_path: Path) -> None:
    other = replace(MIX, protocol={**PROTOCOL, "step_cap": 30})
    board = board_of(tmp_path, HIGH, MIX, other)
    assert sorted(len(section) for section in board.sections()) == [1, 2]
    (alone,) = next(section for section in board.sections() if len(section) == 1)
    assert alone.cost == UNKNOWN
    assert alone.protocol["task"]["step_cap"] == 30


def test_another_limit_is_another_section_whose_heading_says_so(tmp_path: Path) -> None:
    sampled = [replace(run, limit=2) for run in (HIGH, MIX)]
    larger = replace(MIX, limit=3, plays={**MIX.plays, "c": Play("l")})
    board = board_of(tmp_path, HIGH, MIX, *sampled, larger, Run("always-low", {"a": Play("l")}, curve="x"))
    headings = [title(section[0], board) for section in board.sections()]
    assert [heading.partition(" (group")[0] for heading in headings] == [
        f"alfworld, valid_unseen, {limit}, pool toy, deterministic, temperature 0"
        for limit in ("all instances", "limit 3", "limit 2")
    ]
    assert len({row.group for row in board.rows}) == 1
    assert [len(section) for section in board.sections()] == [3, 1, 2]
    assert [[curve.name for curve in board.curves_of(section)] for section in board.sections()] == [["x"], [], []]


def test_headings_say_what_differs_between_sections_of_a_task_and_pool(tmp_path: Path) -> None:
    def headings(*protocols: dict[str, object]) -> list[str]:
        runs = [replace(HIGH, protocol={**PROTOCOL, **changes}) for changes in protocols]
        board = board_of(tmp_path / str(protocols), *runs)
        return sorted(title(section[0], board).partition("temperature 0")[2] for section in board.sections())

    capped = headings({}, {"step_cap": 30})
    assert [text.partition(" (group")[0] for text in capped] == ["; step_cap 30", "; step_cap 50"]
    (one, two) = headings({}, {"prompt_hash": "ab" * 31 + "cd"})  # alike in the twelve digits that are shown elsewhere
    assert ("ab" * 31 + "cd" in one, "ab" * 32 in two) in ((True, True), (False, False))
    assert {len(text.partition(" (group")[0]) for text in (one, two)} == {len('; prompt_hash ""') + 64}
    extra = headings({}, {"extra": "x"})
    assert {text.partition(" (group")[0] for text in extra} == {"; extra x", "; extra null"}


def test_files_of_one_content_make_one_row_wherever_they_lie(tmp_path: Path) -> None:
    def run(seed: int, path: str, digest: str) -> Run:
        content = {"router_args.table": digest}
        return Run("r", {"a": Play("l")}, seed=seed, args={"table": path}, content=content)

    board = board_of(tmp_path, run(0, "a", "x"), run(1, "b", "x"), run(2, "a", "y"))
    assert sorted(row.seeds for row in board.rows) == [1, 2]


def test_incomplete_runs_show_their_coverage_and_stay_off_the_front(tmp_path: Path) -> None:
    partial = Run("lucky", {"a": Play("l")}, planned=["a", "b"])
    row = row_of(board_of(tmp_path, HIGH, MIX, partial), "lucky")
    assert (row.episodes, row.planned, row.success.mean) == (1, 2, 1.0)
    assert not row.pareto
    assert row_of(board_of(tmp_path / "again", HIGH, MIX, partial), "every-k").pareto
    assert "incomplete: 1 of 2 planned episodes (50.0%)" in row.notes[0]


def test_a_run_without_an_episode_yet_appears_without_numbers(tmp_path: Path) -> None:
    row = row_of(board_of(tmp_path, HIGH, Run("new", {}, planned=["a"])), "new")
    assert row.success == Estimate(None, None, None)
    assert (row.steps, row.high_share, row.invalid_share) == (None, None, None)
    assert row.cost_absolute == UNKNOWN


def test_pareto_front(tmp_path: Path) -> None:
    good = {"a": Play("hhhh"), "b": Play("hh")}
    cheap = {"a": Play("l", success=False), "b": Play("l", success=False)}
    wasteful = {"a": Play("hhhhh"), "b": Play("hh", success=False)}
    board = board_of(tmp_path, Run("always-high", good), Run("low", cheap), MIX, Run("wasteful", wasteful))
    assert {row.label: row.pareto for row in board.rows} == {
        "always-high": True,
        "low": True,
        "every-k": True,
        "wasteful": False,
    }
    assert [row.label for row in board.rows] == ["always-high", "every-k", "wasteful", "low"]


def test_all_right_has_a_wilson_interval(tmp_path: Path) -> None:
    (row,) = board_of(tmp_path, Run("perfect", {key: Play("l") for key in "abcde"})).rows
    assert row.success == Estimate(1.0, *wilson(1.0, 5))


def test_without_times_seconds_are_null_and_the_rest_stands(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / "high", HIGH), write_run(tmp_path / "mix", MIX)]
    (folders[1] / "timings.jsonl").unlink()
    row = row_of(build_board(folders), "every-k")
    assert (row.cost["seconds"], row.cost_absolute["seconds"]) == (None, None)
    assert row.cost["weight_bytes"] == pytest.approx(1 / 3)
    assert row.notes == [NO_CLOCK]


def test_packed_entries_give_the_same_rows(tmp_path: Path) -> None:
    plain = board_of(tmp_path, HIGH, MIX)
    packed = build_board([pack(tmp_path / "0"), pack(tmp_path / "1")])
    assert packed == plain


def test_the_same_folder_twice_counts_once(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", MIX)
    assert build_board([folder, tmp_path / "." / "run"]).rows[0].episodes == 2


def test_a_pool_without_high_has_no_high_share(tmp_path: Path) -> None:
    (row,) = board_of(tmp_path, Run("low", {"a": Play("l")}, cards={"low": CARDS["low"]})).rows
    assert row.high_share is None


def test_no_folders() -> None:
    with pytest.raises(MixrouteError, match="no run folders"):
        build_board([])


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(MixrouteError, match=r"run\.json cannot be read"):
        build_board([tmp_path])


def test_the_same_episode_in_two_folders(tmp_path: Path) -> None:
    with pytest.raises(MixrouteError, match=r"1/episodes\.jsonl both hold instance 'a' with seed 0"):
        board_of(tmp_path, MIX, MIX)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("episodes.jsonl", '"run":"', '"run":"0', "has run '0"),
        ("episodes.jsonl", '"seed":0', '"seed":5', "has seed 5"),
        ("episodes.jsonl", '"schema":2', '"schema":9', "has schema 9"),
        ("episodes.jsonl", '"instance":"a"', '"instance":"zz"', "'zz' is not among the 'instances'"),
        ("episodes.jsonl", '"instance":"b"', '"instance":"a"', "holds instance 'a' twice"),
        ("episodes.jsonl", '"calls":[{"model":"low"', '"calls":[{"model":"gone"', "'gone', which has no card"),
        ("episodes.jsonl", '"kind"', '"kinds"', "is corrupt"),
        ("timings.jsonl", '"calls":[{', '"calls":[{"queue":1,"prefill":1,"decode":1,"latency":1},{', "other steps"),
        ("timings.jsonl", '"seed":0', '"seed":5', "other steps, calls or seed"),
        ("run.json", '"schema": 2', '"schema": 9', "has schema 9"),
        ("run.json", '"parameters": 100', '"parameters": "many"', "a card under 'models' is not valid"),
    ],
)
def test_contradictions_name_the_file(tmp_path: Path, file: str, old: str, new: str, message: str) -> None:
    folder = write_run(tmp_path, MIX)
    path = folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(MixrouteError, match=message) as caught:
        build_board([folder])
    assert file in str(caught.value)


def test_one_group_with_two_protocols(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / "high", HIGH), write_run(tmp_path / "mix", MIX)]
    path = folders[1] / "run.json"
    path.write_text(path.read_text().replace('"step_cap": 50', '"step_cap": 30'))
    with pytest.raises(MixrouteError, match=r"mix/run\.json has the group of .*high/run\.json but not its protocol"):
        build_board(folders)


def test_rows_are_measured_against_both_models_and_make_curves(tmp_path: Path) -> None:
    def plays(steps: str, won: int) -> dict[str, Play]:
        return {f"{place}": Play(steps, success=place < won) for place in range(10)}

    runs = [
        Run("always-high", plays("hhhh", 10)),
        Run("always-low", plays("llll", 2)),
        Run("random", plays("hlll", 6), label="quarter", curve="random"),
        Run("random", plays("hhll", 6), label="half", curve="random", args={"p": 0.5}),
        Run("random", plays("hhhl", 6), label="unfinished", curve="random", planned=[*map(str, range(11))]),
        Run("random", {**plays("hhhl", 9), "0": Play("", error="x")}, label="crashed", curve="random", args={"p": 1}),
    ]
    board = build_board(write_run(tmp_path / str(number), run) for number, run in enumerate(runs))
    rows = {row.label: row for row in board.rows}
    metrics = rows["quarter"].routing_metrics
    figures = (metrics.pgr, metrics.ghc, metrics.cost_reduction, metrics.gain_over_random, metrics.ibc_lift)
    assert figures == pytest.approx((0.5, 1.6, 0.5, 0.2, 1.0))
    assert rows["always-high"].routing_metrics.pgr == 1
    assert rows["unfinished"].routing_metrics == RoutingMetrics()
    assert (rows["always-low"].collapse, rows["half"].collapse) == (1, 0)
    (curve,) = board.curves
    assert (curve.name, curve.labels) == ("random", ["half", "quarter"])
    assert (curve.cpt20, curve.cpt50, curve.cpt80) == pytest.approx((0.1, 0.25, 0.8))
    assert curve.apgr == pytest.approx(0.25 * 0.25 + 0.25 * 0.5 + 0.5 * 0.75)
    assert curve.qnc == 1.0


def test_there_is_no_curve_without_both_models(tmp_path: Path) -> None:
    runs = [Run("always-high", {"a": Play("h")}), Run("random", {"a": Play("l")}, curve="random")]
    board = build_board(write_run(tmp_path / str(number), run) for number, run in enumerate(runs))
    assert board.curves == ()
    assert all(row.routing_metrics == RoutingMetrics() for row in board.rows)


TRAINED_WITH = {"pool": "theirs", "models": {"high": CARDS["high"].fingerprint, "low": "1" * 64}}


@pytest.mark.parametrize(
    ("recorded", "noted"),
    [
        (TRAINED_WITH, True),
        ({**TRAINED_WITH, "pool": "toy"}, False),
        ({**TRAINED_WITH, "pool": "pools/toy.yaml"}, False),
        ({**TRAINED_WITH, "models": {name: card.fingerprint for name, card in CARDS.items()}}, False),
        ({**TRAINED_WITH, "models": {}}, True),
        ({"pool": 3, "models": []}, False),
        (None, False),
    ],
)
def test_a_router_of_another_pool_has_a_note(tmp_path: Path, recorded: object, noted: bool) -> None:
    folder = write_run(tmp_path / "run", Run("dmr", {"a": Play("hl")}))
    meta = json.loads((folder / "run.json").read_bytes())
    meta["provenance"] |= {"pool_file": "pools/toy.yaml", **({} if recorded is None else {"trained_with": recorded})}
    (folder / "run.json").write_text(json.dumps(meta))
    (row,) = build_board([folder]).rows
    note = "its router was trained with pool theirs, and routes between the models of another"
    assert [one for one in row.notes if "was trained with" in one] == ([note] if noted else [])
