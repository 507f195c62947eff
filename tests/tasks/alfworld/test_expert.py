"""The expert wins the games, knows no more than an agent, and can take over anybody's episode."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from harness.contracts import Expert, Teachable
from mixroute import MixrouteError, Observation, Task, Turn, open_task
from tasks.alfworld.expert import stored
from tasks.alfworld.expert.count import count
from tasks.alfworld.expert.plan import ParsedGoal, parse_goal
from tests.shared_data import shared


def teacher(task: Task) -> Expert:
    assert isinstance(task, Teachable)
    return task.expert()


def play(task: Task, number: int, lost_steps: int = 0, step_cap: int = 80) -> tuple[bool, list[Turn]]:
    """Play an instance after so many random steps; the expert is shown what the agent sees and nothing else."""
    environment = task.open(task.instances()[number])
    observation = environment.reset()
    expert, turns, rng = teacher(task), list[Turn](), random.Random(number)
    while len(turns) < step_cap:
        blind = Observation(observation.text)
        action = rng.choice(observation.admissible) if len(turns) < lost_steps else expert.act(turns, blind)
        turns.append(Turn(blind, action, action))
        observation, _, done = environment.step(action)
        if done:
            return True, turns
    return False, turns


@pytest.mark.parametrize("dialect", ["0.4", "0.3"])
def test_wins_every_generated_game(dialect: str) -> None:
    task = open_task("alfworld-gen", split="test", dialect=dialect)
    played = [play(task, number, step_cap=50) for number in range(len(task.instances()))]
    assert all(won for won, _ in played)


@pytest.mark.parametrize("split", ["valid_seen", "valid_unseen"])
def test_wins_every_official_evaluation_game(split: str) -> None:
    task = open_task("alfworld", data=str(shared("data", "alfworld")), split=split)
    played = [play(task, number, step_cap=50) for number in range(len(task.instances()))]
    assert all(won for won, _ in played)
    assert sum(len(turns) for _, turns in played) / len(played) < 8.5


def test_takes_over_from_a_player_that_went_astray() -> None:
    task = open_task("alfworld-gen", split="dev")
    assert all(play(task, number, lost_steps=12)[0] for number in range(0, 60, 2))


def test_a_command_that_failed_is_not_repeated() -> None:
    task = open_task("alfworld-gen", split="dev")
    for number in range(12):
        _, turns = play(task, number, lost_steps=5)
        for before, after in pairwise(turns[5:]):
            assert after.observation.text != "Nothing happens." or after.action != before.action


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("examine the cd with the desklamp", ParsedGoal("cd")),
        ("look at alarmclock under the desklamp", ParsedGoal("alarmclock")),
        ("put a pen in sidetable", ParsedGoal("pen", "sidetable")),
        ("put some pen on sidetable", ParsedGoal("pen", "sidetable")),
        ("put a hot apple in fridge", ParsedGoal("apple", "fridge", "heat")),
        ("clean some plate and put it in shelf", ParsedGoal("plate", "shelf", "clean")),
        ("put two mug in cabinet", ParsedGoal("mug", "cabinet", count=2)),
        ("find two mug and put them in cabinet", ParsedGoal("mug", "cabinet", count=2)),
    ],
)
def test_reads_the_goal(sentence: str, expected: ParsedGoal) -> None:
    assert parse_goal(f"Your task is to: {sentence}.") == expected


def test_an_unknown_goal_is_named() -> None:
    with pytest.raises(MixrouteError, match="paint the wall"):
        parse_goal("Your task is to: paint the wall.")


def test_counts_where_things_lie() -> None:
    task = open_task("alfworld-gen", split="train", games=12)
    rates = count(task.instances()).rates
    assert rates
    assert all(rate > 0 for places in rates.values() for rate in places.values())
    # An apple lies in a fridge more often than in a sofa, in these games as in the stored counts.
    assert stored().rate("apple", "fridge") > stored().rate("apple", "sofa") == 0.0


def test_its_text_is_parsed_back() -> None:
    for prompt in ("compact", "few-shot", "chat"):
        task = open_task("alfworld-gen", split="dev", prompt=prompt)
        assert isinstance(task, Teachable)
        assert task.parse_action(task.completion_text("go to desk 1")) == "go to desk 1"
