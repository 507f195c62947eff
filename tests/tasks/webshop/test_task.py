"""The tasks as the harness uses them: goals, play, prompts, the protocol record, and errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness import plugins
from harness.contracts import Environment, Task, Teachable
from harness.data import Observation, Turn
from harness.errors import MixrouteError
from tasks.webshop.generate import Generated, write_files

SMALL: dict[str, Any] = {"products": 300}


def open_gen(**arguments: Any) -> Task:
    return plugins.open_task("webshop-gen", **{**SMALL, **arguments})


@pytest.fixture(scope="module")
def task() -> Task:
    return open_gen()


def walk(env: Environment, actions: Sequence[str]) -> tuple[list[Turn], Observation]:
    observation, turns = env.reset(), []
    for action in actions:
        turns.append(Turn(observation, f" {action}", action))
        observation, _, _ = env.step(action)
    return turns, observation


def first_product(observation: Observation) -> str:
    return next(action for action in observation.admissible if action.startswith("click[b0"))


def shop(task: Task, **arguments: Any) -> tuple[list[Turn], Observation]:
    """A walk over every kind of page."""
    env = task.open(task.instances()[0])
    _, results = walk(env, ["search[women's dresses]"])
    opened = first_product(results)
    return walk(env, ["search[women's dresses]", "click[next >]", "click[< prev]", opened, "click[description]"])


def test_the_expert_buys_what_is_asked_for(task: Task) -> None:
    assert isinstance(task, Teachable)
    expert, won = task.expert(), 0
    for instance in task.instances()[:50]:
        env = task.open(instance)
        observation, done, score = env.reset(), False, 0.0
        turns: list[Turn] = []
        while not done:
            action = expert.act(turns, observation)
            assert action.startswith("search[") or action.lower() in observation.admissible
            assert task.parse_action(task.completion_text(action)) == action
            turns.append(Turn(observation, task.completion_text(action), action))
            observation, score, done = env.step(action)
        won += task.is_success(score)
        assert len(turns) <= task.step_cap
    assert won >= 45


def test_the_expert_takes_over_anywhere(task: Task) -> None:
    assert isinstance(task, Teachable)
    turns, observation = shop(task)
    assert task.expert().act(turns, observation) == "click[back to search]"


def test_goals_are_sorted_and_of_a_kind(task: Task) -> None:
    ids = [instance.id for instance in task.instances()]
    assert ids == sorted(ids)
    assert {instance.kind for instance in task.instances()} > {"fashion"}


def test_invalid_actions_leave_the_page(task: Task) -> None:
    env = task.open(task.instances()[0])
    before = env.reset()
    for action in ("click[buy now]", "click[search]", "search[<r>]", "search[<a> soft]", "look", "", "search[]"):
        assert env.step(action) == (before, 0.0, False)
        assert action not in before.admissible


def test_a_purchase_ends_the_episode(task: Task) -> None:
    env = task.open(task.instances()[0])
    _, results = walk(env, ["search[women's dresses]"])
    env.step(first_product(results))
    observation, score, done = env.step("click[Buy Now]")
    assert done
    assert 0 <= score <= 1
    assert str(score) in observation.text
    with pytest.raises(RuntimeError, match="reset the environment"):
        env.step("click[back to search]")


@pytest.mark.parametrize("observation", ["text", "text_rich"])
@pytest.mark.parametrize("prompt", ["compact", "chat"])
@pytest.mark.parametrize("show_admissible", [True, False])
def test_prompts_only_grow(observation: str, prompt: str, show_admissible: bool) -> None:
    task = open_gen(observation=observation, prompt=prompt, show_admissible=show_admissible)
    turns, last = shop(task)
    whole = task.prompt(turns, last).messages
    for number, turn in enumerate(turns):
        before = task.prompt(turns[:number], turn.observation).messages
        assert before == whole[: len(before)]


@pytest.mark.parametrize("observation", ["text", "text_rich"])
def test_the_instruction_is_told_once(observation: str) -> None:
    task = open_gen(observation=observation)
    instruction = task.instances()[0].data.instruction_text
    turns, last = shop(task)
    assert "".join(message.content for message in task.prompt(turns, last).messages).count(instruction) == 1


def test_an_unchanged_page_is_not_shown_again(task: Task) -> None:
    env = task.open(task.instances()[0])
    turns, last = walk(env, ["search[women's dresses]", "click[nothing]"])
    shown = task.prompt(turns, last).messages[-1].content
    assert shown == "The page is as it was.\n>"


@pytest.mark.parametrize("budget", [1, 2, 20, 60])
def test_long_pages_are_cut(budget: int) -> None:
    task = open_gen(page_budget=budget)
    env = task.open(task.instances()[0])
    turns, last = walk(env, ["search[women's dresses]"])
    shown = task.prompt(turns, last).messages[-1].content
    assert shown.endswith(" ...\n>")
    assert len(shown.split()) <= budget + 2
    assert task.protocol()["page_budget"] == budget


def test_what_may_change_a_score_is_recorded(task: Task) -> None:
    recorded = task.protocol()
    changes: list[dict[str, Any]] = [
        {"split": "dev"}, {"goals": 7}, {"products": 200}, {"observation": "text_rich"}, {"show_admissible": True},
        {"prompt": "chat"}, {"page_budget": 50}, {"price_seed": 1}, {"strict_options": True}, {"step_cap": 9},
    ]  # fmt: skip
    for change in changes:
        assert open_gen(**change).protocol() != recorded, change


def test_prices_follow_the_seed() -> None:
    drawn = [[one.data.price_upper for one in open_gen(price_seed=seed).instances()] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_official_splits_are_those_of_the_original(tmp_path: Path) -> None:
    folder = write_files(Generated("train", 1000), tmp_path)
    splits = {split: plugins.open_task("webshop", data=str(folder), split=split) for split in ("test", "eval", "train")}
    ids = {split: [one.id for one in task.instances()] for split, task in splits.items()}
    assert (len(ids["test"]), len(ids["eval"])) == (500, 1000)
    assert ids["test"][0].startswith("test/synthetic-00000000-B0")
    assert ids["train"][0].startswith("train/synthetic-00001500-B0")
    assert splits["test"].protocol()["official_data"] is None
    with pytest.raises(MixrouteError, match="0 human goals"):
        plugins.open_task("webshop", data=str(folder), goals="human")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "valid"}, "no split 'valid'"),
        ({"observation": "html"}, "unknown WebShop observation 'html'"),
        ({"prompt": "compakt"}, "unknown scaffold 'compakt': did you mean 'compact'"),
        ({"prompt": "few-shot"}, "scaffold 'few-shot' shows 1 example episodes, and this task has 0"),
        ({"step_cap": 0}, "step_cap = 0"),
        ({"page_budget": 0}, "page_budget = 0"),
        ({"goals": 100_000}, "goals = 100000"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(MixrouteError, match=message):
        open_gen(**arguments)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MixrouteError, match="the WebShop data folder .* does not exist.*WEBSHOP_DATA"):
        plugins.open_task("webshop", data=str(tmp_path / "nowhere"))
