"""The own engine against recorded play of the original, and all official walkthroughs."""

import json
import lzma
from pathlib import Path

import pytest

from harness.contracts import Task
from harness.plugins import open_task
from tasks.alfworld.data import TASK_TYPES, counts
from tasks.alfworld.dialect import translate
from tasks.alfworld.game import Game
from tasks.alfworld.official import OFFICIAL
from tests.shared_data import shared

SPLITS = ("train", "valid_seen", "valid_unseen")


def official(split: str, dialect: str = "0.4") -> Task:
    return open_task("alfworld", data=shared("data", "alfworld"), split=split, dialect=dialect)


@pytest.mark.parametrize("split", ["train", "valid_seen"])
def test_recorded_games_are_equal_to_the_character(split: str) -> None:
    path: Path = shared("vectors", "alfworld", f"traces_{split}.jsonl.xz")
    instances = {one.id: one for one in official(split).instances()}
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            trace = json.loads(line)
            data = instances[trace["id"]].data.load()
            game = Game(data.problem, data.task)
            for step in trace["steps"]:
                answer = game.reset() if step["action"] is None else game.step(step["action"])
                assert answer == step["observation"], (trace["id"], step["action"])
                assert list(game.admissible) == step["admissible"], (trace["id"], step["action"])
                assert game.won == step["won"], (trace["id"], step["action"])


@pytest.mark.parametrize("dialect", ["0.4", "0.3"])
@pytest.mark.parametrize("split", SPLITS)
def test_every_walkthrough_wins(split: str, dialect: str) -> None:
    task = official(split, dialect)
    # Of the 3,553 train games a sample; the dialects part in some words only.
    for instance in task.instances()[:: {"0.4": 3, "0.3": 10}[dialect] if split == "train" else 1]:
        env = task.open(instance)
        observation = env.reset()
        reward, done = 0.0, False
        for command in instance.data.load().walkthrough:
            action = translate(command, dialect)
            assert not done, instance.id
            assert action in observation.admissible, (instance.id, action)
            observation, reward, done = env.step(action)
        assert (reward, done) == (1.0, True), instance.id


@pytest.mark.parametrize("split", SPLITS)
def test_the_packed_games_are_the_official_ones(split: str) -> None:
    task = official(split)
    assert len(task.instances()) == OFFICIAL[split].games
    assert task.protocol()["data"] == OFFICIAL[split].fingerprint
    assert task.protocol()["official_data"]


def test_unseen_games_by_type() -> None:
    assert counts(official("valid_unseen").instances()) == dict(zip(TASK_TYPES, (24, 18, 31, 23, 21, 17), strict=True))


def test_a_published_transcript_of_dialect_03() -> None:
    # The example on the ALFWorld project page; its engine listed things in no order, so the order is not compared.
    name = "train/look_at_obj_in_light-AlarmClock-None-DeskLamp-302/trial_T20190908_192756_298295"
    task = official("train", "0.3")
    env = task.open(next(one for one in task.instances() if one.id == name))
    assert env.reset().text.endswith("Your task is to: examine the alarmclock with the desklamp.")
    desk = env.step("go to desk 1")[0].text
    start = "You arrive at loc 8. On the desk 1, you see "
    assert desk.startswith(start)
    published = (
        "a pen 1, a bowl 1, a alarmclock 2, a pencil 2, a pencil 3, a creditcard 3, a book 1, a alarmclock 3, "
        "a keychain 3, a book 2"
    )
    seen = desk.removeprefix(start).rstrip(".").replace("and ", "")
    assert sorted(seen.split(", ")) == sorted(published.split(", "))
    assert env.step("take alarmclock 2 from desk 1")[0].text == "You pick up the alarmclock 2 from the desk 1."
    assert env.step("go to sidetable 2")[0].text.startswith("You arrive at loc 1. On the sidetable 2, you see ")
    assert env.step("use desklamp 1")[1:] == (1.0, True)
