"""Word problems: always the same, splits apart, every solution right, and the answer is read as it is marked."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness.contracts import Task, Teachable
from harness.data import Turn
from mixroute import MixrouteError, open_task
from tasks.reasoning.arith import Problem, problem
from tasks.reasoning.arith.problem import KINDS, problems_of
from tests.command import mixroute

PINNED = {"train": "f0e9df53fd197f8f", "dev": "15a0cc8e3f2a79da", "test": "6f3acd920af471e5"}
EQUATION = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")


def arith(**arguments: Any) -> Task:
    return open_task("arith-gen", **arguments)


def solved(task: Task, place: int, text: str) -> tuple[float, bool]:
    environment = task.open(task.instances()[place])
    environment.reset()
    return environment.step(task.parse_action(text))[1:]


def test_it_is_always_the_same() -> None:
    # Pinned: whoever changes what is drawn must raise problem.VERSION.
    digests = {split: str(arith(split=split).protocol()["data"])[:16] for split in ("train", "dev", "test")}
    assert digests == PINNED


@given(st.sampled_from(["train", "dev", "test"]), st.integers(0, 239))
def test_every_solution_is_right(split: str, number: int) -> None:
    drawn = problem(split, number)
    told = set(re.findall(r"\d+", drawn.question)) | {"2", "3", "4", "5"}  # the latter stand there as words
    for step in drawn.steps:
        found = EQUATION.search(step)
        assert found is not None
        left, operator, right, result = found.groups()
        exact = {"+": int(left) + int(right), "-": int(left) - int(right), "*": int(left) * int(right)}
        if operator == "/":
            assert int(left) == int(right) * int(result)
        else:
            assert int(result) == exact[operator] > 0
        assert {left, right} <= told, "a number comes from the question or from an earlier step"
        told.add(result)
    assert drawn.steps[-1].endswith(f"= {drawn.answer}")
    assert len(drawn.steps) == {"easy": 2, "medium": 4, "hard": 6}[drawn.kind.rpartition("-")[2]]


def equations(drawn: Problem) -> tuple[str, ...]:
    return tuple(found[0] for found in map(EQUATION.search, drawn.steps) if found)


def test_splits_share_no_chain_of_equations() -> None:
    train, dev, test = (
        {equations(one) for one in problems_of(split, count, 0)}
        for split, count in (("train", 20_000), ("dev", None), ("test", None))
    )
    assert not train & dev
    assert not train & test
    assert not dev & test
    assert len({one.question for one in problems_of("test", None, 0)}) == 480


def test_kinds_take_turns_and_levels_can_be_chosen() -> None:
    assert [one.kind for one in arith(split="dev", problems=12).instances()] == list(KINDS)
    hard = arith(split="dev", levels=["hard"]).instances()
    assert {one.kind for one in hard} == {kind for kind in KINDS if kind.endswith("hard")}
    assert len(hard) == 80
    assert arith(split="train", problems=5, seed=7).instances() == arith(split="train", problems=12).instances()[7:]


@pytest.mark.parametrize("prompt", ["compact", "few-shot", "chat"])
def test_the_expert_is_right_and_what_it_writes_is_read_back(prompt: str) -> None:
    task = arith(split="train", problems=24, prompt=prompt)
    assert isinstance(task, Teachable)
    expert = task.expert()
    for place, instance in enumerate(task.instances()):
        observation = task.open(instance).reset()
        action = expert.act([], observation)
        text = task.completion_text(action)
        assert task.parse_action(text) == action
        assert solved(task, place, text) == (1.0, True)
        first, second = (task.prompt(turns, observation) for turns in ([], [Turn(observation, text, action)]))
        assert second.messages[: len(first.messages)] == first.messages
        assert first.format == ("chat" if prompt == "chat" else "plain")


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (" 3 * 4 = 12\n#### 15", True),
        ("#### 15\n#### 16", True),
        ("####15 marbles", True),
        ("#### $15.00", True),
        ("#### 15.", True),
        ("#### 16\n#### 15", False),
        ("#### 15.5", False),
        ("#### 1,5", True),
        ("#### -15", False),
        ("#### fifteen", False),
        ("the answer is 15", False),
        ("", False),
    ],
)
def test_the_first_marked_number_counts(text: str, right: bool) -> None:
    task = arith(split="dev")
    place = next(n for n, one in enumerate(task.instances()) if one.data.answer == 15)
    assert solved(task, place, text) == (float(right), True)


def test_the_answer_is_not_shown_and_the_verdict_tells_what_was_read() -> None:
    task = arith(split="dev", problems=1)
    environment = task.open(task.instances()[0])
    environment.reset()
    answer = task.instances()[0].data.answer
    assert environment.step(f"#### {answer + 1}")[0].text == f"Wrong: {answer + 1}; it is {answer}."
    with pytest.raises(RuntimeError, match="reset it"):
        environment.step("#### 1")
    environment.reset()
    assert environment.step("none")[0].text.startswith("Wrong: no marked answer")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "valid"}, "no split 'valid'"),
        ({"split": "dev", "seed": 3}, "only train has more than one"),
        ({"split": "train", "seed": -1}, "seed = -1"),
        ({"split": "dev", "problems": 241}, "problems = 241: use 1 to 240"),
        ({"split": "dev", "problems": 0}, "problems = 0"),
        ({"levels": ["hart"]}, "use some of easy, medium, hard"),
        ({"levels": []}, "use some of easy, medium, hard"),
        ({"prompt": "react"}, "use one of compact, few-shot, chat"),
        ({"max_tokens": 0}, "max_tokens = 0"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(MixrouteError, match=message):
        arith(**arguments)


def test_a_run_on_real_models_is_played_and_verified(tmp_path: Path, tiny_pool: Path) -> None:
    suite = {
        "schema": 1,
        "name": "arith",
        "pool": str(tiny_pool),
        "tasks": [{"task": "arith-gen", "split": "dev", "limit": 3, "args": {"prompt": p, "max_tokens": 8}} for p in
                  ("compact", "few-shot", "chat")],
        "routers": ["always-low"],
    }  # fmt: skip
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(suite))
    mixroute("run", tmp_path / "suite.yaml", "--out", "runs", cwd=tmp_path)
    played = [json.loads(line) for path in (tmp_path / "runs").rglob("episodes.jsonl") for line in path.open()]
    assert len(played) == 9
    assert {(len(one["steps"]), one["end"], one["error"]) for one in played} == {(1, "done", None)}
    assert "failed" not in mixroute("verify", "runs", "--own", cwd=tmp_path).stdout


@pytest.mark.slow
def test_a_model_learns_it(tmp_path: Path, tiny_pool: Path) -> None:
    recipe = {
        "schema": 1,
        "name": "tiny",
        "pool": str(tiny_pool),
        "lessons": [{"task": "arith-gen", "args": {"problems": 12, "levels": ["easy"]}}],
        "dev": [{"task": "arith-gen", "split": "dev", "limit": 2, "args": {"max_tokens": 4}}],
        "lora": None,
        "epochs": 4,
        "learning_rate": 0.01,
        "batch_tokens": 2048,
        "precision": "float32",
        "evaluations": 1,
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    mixroute("train", "agent", "recipe.yaml", "--out", "work", cwd=tmp_path)
    card = json.loads((tmp_path / "work" / "model" / "card.json").read_text())
    assert card["examples"] == 4
    assert "eval_arith-gen/dev/success" in card["dev"][-1]
