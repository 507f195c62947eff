"""Generated games: always the same, never won at the start, always winnable, balanced, and of ALFWorld's size."""

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import MixrouteError
from harness.plugins import open_task
from tasks.alfworld.data import TASK_TYPES
from tasks.alfworld.dialect import translate
from tasks.alfworld.generate import GeneratedGame
from tasks.alfworld.generate.export import write_games
from tests.examples import examples

PINNED = {
    "dev": "3066dfc7e84185a7312722779c8910aeec52f549590b423eaa51d2c0db1489ea",
    "test": "6d80e30e88fdb0caa626af4a8e0ce9e553d19720388164429ca2634d95a10110",
}
"""Content fingerprints of the fixed splits; a change to them needs a new generator version and new board names."""


@pytest.mark.parametrize("split", ["dev", "test"])
def test_fixed_splits_never_change(split: str) -> None:
    assert open_task("alfworld-gen", split=split).protocol()["data"] == PINNED[split]


def test_games_do_not_depend_on_the_process() -> None:
    code = "from tasks.alfworld.generate import GeneratedGame as G; print([G('train', n).load() for n in range(6)])"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


@pytest.mark.parametrize("dialect", ["0.4", "0.3"])
@pytest.mark.parametrize("split", ["dev", "test"])
def test_walkthroughs_win_with_their_last_command(split: str, dialect: str) -> None:
    task = open_task("alfworld-gen", split=split, dialect=dialect)
    for instance in task.instances():
        env = task.open(instance)
        observation = env.reset()
        plan = [translate(command, dialect) for command in instance.data.load().walkthrough]
        for number, command in enumerate(plan, 1):
            assert command in observation.admissible
            observation, reward, done = env.step(command)
            assert (reward, done) == ((1.0, True) if number == len(plan) else (0.0, False))
        assert len(plan) <= task.step_cap


@examples(0.6)
@given(st.integers(0, 10**7 - 1))
def test_any_train_number_is_a_winnable_game(number: int) -> None:
    game = GeneratedGame("train", number)
    assert game.load().walkthrough  # load raises where the game cannot be won, or is won at once
    layout = game.layout()
    assert 8 <= len(layout.receptacles) <= 40
    assert 12 <= len(layout.things) <= 55


def test_splits_are_balanced_sorted_and_disjoint() -> None:
    seen: set[str] = set()
    contents: set[str] = set()
    for split, size in (("dev", 60), ("test", 120), ("train", 600)):
        instances = open_task("alfworld-gen", split=split).instances()
        assert Counter(one.kind for one in instances) == dict.fromkeys(TASK_TYPES, size // 6)
        identifiers = [one.id for one in instances]
        assert identifiers == sorted(identifiers)
        assert not seen & set(identifiers)
        seen |= set(identifiers)
        if split != "train":
            contents |= {hashlib.sha256(one.data.load().problem.encode()).hexdigest() for one in instances}
    assert len(contents) == 180


def test_train_games_are_named_by_their_number() -> None:
    first = open_task("alfworld-gen", split="train", games=12).instances()
    later = open_task("alfworld-gen", split="train", games=6, seed=6).instances()
    assert list(first[6:]) == list(later)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "valid"}, "no split 'valid': use one of train, dev, test"),
        ({"split": "test", "games": 121}, r"give games = 1\.\.120 and no seed"),
        ({"split": "dev", "seed": 3}, r"give games = 1\.\.60 and no seed"),
        ({"split": "train", "games": 0}, "games = 0"),
        ({"split": "train", "seed": -1}, "seed = -1"),
    ],
)
def test_numbers_that_do_not_exist(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(MixrouteError, match=message):
        open_task("alfworld-gen", **arguments)


def test_games_are_written_for_the_original(tmp_path: Path) -> None:
    paths = write_games(tmp_path, "dev", games=6, logic=("(domain)", "Your task is to: UNKNOWN GOAL."))
    assert len(paths) == 6
    for path in paths:
        game = json.loads(path.read_text())
        assert game["solvable"]
        assert game["walkthrough"]
        assert game["pddl_domain"] == "(domain)"
        assert game["grammar"].startswith("Your task is to: ")
        assert "UNKNOWN" not in game["grammar"]
        trajectory = json.loads(path.with_name("traj_data.json").read_text())
        assert path.parent.parent.name.startswith(f"{trajectory['task_type']}-")
    with pytest.raises(MixrouteError, match="holds neither"):
        open_task("alfworld", data=tmp_path)
