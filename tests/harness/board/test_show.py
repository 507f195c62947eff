from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from harness.board.show import find_episode, show_episode
from harness.errors import MixrouteError
from tests.harness.board.builders import Play, Run, meta_of, pack, write_run
from tests.harness.board.clocked import write_clocks

MIX = Run("every-k", {"pick/trial_1": Play("hlxl"), "pick/trial_2": Play("l"), "heat/trial_1": Play("l")})
OTHER = Run("random", {"pick/trial_1": Play("h"), "cool/trial_9": Play("h")}, planned=["pick/trial_1", "cool/trial_9"])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_run(tmp_path / "runs" / "mix", MIX)
    write_run(tmp_path / "runs" / "other", OTHER)
    return tmp_path / "runs"


def shown(folder: Path, instance: str, *, full: bool = False) -> str:
    console = Console(file=io.StringIO(), width=200, color_system=None)
    show_episode(folder, instance, console, full=full)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_steps_and_totals_by_hand(root: Path) -> None:
    text = shown(root / "mix", "pick/trial_1")
    assert "1 [high] > look\n" in text
    assert "2 [low] > look  INVALID\n" in text
    # The mean is over the two content tokens; the third is the stop token.
    assert "call high: prompt 10 (4 cached), decoded 3, stop, mean entropy 0.375 nats" in text
    assert "success: score 1, end done" in text
    assert "steps 3, of which invalid 1, high share 33.3%" in text
    assert "low: acted in 2 steps, 2 calls, prompt tokens 20 (8 cached), decoded 6" in text
    assert "seconds" not in text
    write_clocks([root / "mix"], factors=(0.5, 1.5))
    timed = shown(root / "mix", "pick/trial_1")
    assert "measured seconds 1.000 s" in timed
    # A step takes a second of wall time and its call; the router took 0.01 s of each.
    assert "latency at 4 episodes at once, with the router's own code: episode 4.030 s, step p50 1.3" in timed
    assert "admissible" not in text
    assert "admissible: look, wait" in shown(root / "mix", "pick/trial_1", full=True)


def test_model_and_validity_have_colours_too(root: Path) -> None:
    console = Console(file=io.StringIO(), width=200, color_system="standard", force_terminal=True)
    show_episode(root / "mix", "pick/trial_1", console)
    assert isinstance(console.file, io.StringIO)
    assert "\x1b[1;35m[high]" in console.file.getvalue()
    assert "\x1b[1;31m  INVALID" in console.file.getvalue()


def test_text_of_the_trace_cannot_act_on_the_terminal(tmp_path: Path) -> None:
    name = "[red]\x1b[2J\u202e"
    folder = write_run(tmp_path, Run("[blink]", {name: Play("h", text="[bold]x[/]\x1b]0;title\x07\r\ny", error=name)}))
    for full in (False, True):
        text = shown(folder, name, full=full)
        assert not set(text) & set("\x1b\x07\r\u202e")
        assert "[bold]x[/]" in text
        assert "alfworld_-blink-_s0/[red]" in text


def test_an_error_and_missing_times_are_said(tmp_path: Path) -> None:
    folder = write_run(tmp_path, Run("r", {"a": Play("h", error="EpisodeError: boom")}))
    (folder / "timings.jsonl").unlink()
    text = shown(folder, "a")
    assert "failure: score 1, end error" in text
    assert "error: EpisodeError: boom" in text
    assert "seconds" not in text


def test_packed_entries_are_shown(root: Path) -> None:
    plain = shown(root / "mix", "heat/trial_1")
    assert shown(pack(root / "mix"), "heat/trial_1") == plain


def test_an_episode_that_was_not_played(root: Path) -> None:
    with pytest.raises(MixrouteError, match=r"episodes\.jsonl has no finished episode of 'gone'"):
        shown(root / "mix", "gone")


@pytest.mark.parametrize(
    ("text", "folder", "instance"),
    [
        ("cool/trial_9", "other", "cool/trial_9"),
        ("cool", "other", "cool/trial_9"),
        ("trial_2", "mix", "pick/trial_2"),
        (f"{meta_of(OTHER).id}/pick/trial_1", "other", "pick/trial_1"),
        ("every-k_s0/pick/trial_1", "mix", "pick/trial_1"),
    ],
)
def test_finds(root: Path, text: str, folder: str, instance: str) -> None:
    assert find_episode(root, text) == (root / folder, instance)


def test_a_whole_name_wins_over_a_part_of_others(tmp_path: Path) -> None:
    folder = write_run(tmp_path, Run("r", {"game": Play(), "game2": Play()}))
    assert find_episode(tmp_path, "game") == (folder, "game")


def test_several_are_listed(root: Path) -> None:
    with pytest.raises(MixrouteError, match="matches 2 episodes") as caught:
        find_episode(root, "pick/trial_1")
    assert f"{meta_of(MIX).id}/pick/trial_1" in str(caught.value)
    assert f"{meta_of(OTHER).id}/pick/trial_1" in str(caught.value)


def test_none_and_no_runs(root: Path, tmp_path: Path) -> None:
    with pytest.raises(MixrouteError, match=r"no episode below .* matches 'zebra'; one of 5:"):
        find_episode(root, "zebra")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MixrouteError, match="empty holds no run"):
        find_episode(tmp_path / "empty", "a")


def test_thoughts_are_shown_apart_from_actions(tmp_path: Path) -> None:
    write_run(tmp_path / "mix", Run("every-k", {"pick/trial_1": Play("h")}))
    assert "thinks:" not in shown(tmp_path / "mix", "pick/trial_1")
    path = tmp_path / "mix" / "episodes.jsonl"
    path.write_text(path.read_text().replace('"action":"look"', '"action":"look","thought":"It [bold]is[/] dark."', 1))
    assert "thinks: It [bold]is[/] dark.\n" in shown(tmp_path / "mix", "pick/trial_1")
