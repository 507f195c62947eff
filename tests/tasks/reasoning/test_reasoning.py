"""lm-eval's tasks as tasks of one step: its own prompts, filters and metrics, on local data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval", reason="the extra 'reasoning' is not installed")

from harness.contracts import Task, Teachable
from harness.data import Turn
from mixroute import MixrouteError, open_task
from tasks.reasoning.grading import math_verified
from tests.shared_data import shared
from tests.tasks.reasoning.local import write_data, write_task


@pytest.fixture
def little(tmp_path: Path) -> Path:
    return write_task(tmp_path / "little.yaml", write_data(tmp_path / "data"))


def graded(task: Task, answer: str, place: int = 0) -> tuple[str, float]:
    environment = task.open(task.instances()[place])
    environment.reset()
    observation, reward, done = environment.step(task.parse_action(answer))
    assert done
    return observation.text, reward


def shown(task: Task, place: int = 0) -> list[str]:
    observation = task.open(task.instances()[place]).reset()
    return [f"{message.role}: {message.content}" for message in task.prompt([], observation).messages]


def test_the_prompt_is_the_yaml_s(little: Path) -> None:
    task = open_task("reasoning", benchmark=str(little))
    assert shown(task, 1) == [
        "user: Question: What is 2 + 1?\nAnswer: 2 + 1 = 3\n#### 3\n\n"
        "Question: What is 3 + 1?\nAnswer: 3 + 1 = 4\n#### 4\n\nQuestion: What is 21 + 1?\nAnswer:"
    ]
    assert (task.name, task.stop, task.max_tokens) == ("little", ("Question:",), 8)
    assert [one.id for one in task.instances()] == [f"test/little-{n:07d}" for n in range(5)]
    assert {one.kind for one in task.instances()} == {"little"}


def test_examples_are_turns_of_a_chat(little: Path) -> None:
    task = open_task("reasoning", benchmark=str(little), chat=True, few_shot=1, system="Be brief.", max_tokens=99)
    assert shown(task) == [
        "system: Be brief.",
        "user: Question: What is 9 + 1?\nAnswer:",
        "assistant: 9 + 1 = 10\n#### 10",
        "user: Question: What is 20 + 1?\nAnswer:",
    ]
    assert task.max_tokens == 99


def test_the_score_is_the_chosen_metric_and_all_are_told(little: Path) -> None:
    for metric, answer, score in (
        ("exact_match", "20 + 1 = 21\n#### 21", 0.0),  # the filter takes one letter
        ("math_verify", "It is \\boxed{21}", 1.0),
        ("math_verify", "It is \\boxed{22}", 0.0),
    ):
        task = open_task("reasoning", benchmark=str(little), metric=metric)
        told, reward = graded(task, answer)
        assert reward == score
        assert told.startswith("exact_match[letters] 0")
        assert ("math_verify" in told) == (metric == "math_verify")
        assert told.endswith("target: 20 + 1 = 21\n#### 21")
        assert task.protocol()["grader"]["metric"] == metric
        assert ("math-verify" in task.protocol()["grader"]) == (metric == "math_verify")


def test_gsm8k_whole_from_local_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REASONING_DATA", str(shared("data", "gsm8k").parent))
    task = open_task("reasoning", benchmark="gsm8k", few_shot=0)
    assert len(task.instances()) == 1319
    assert task.protocol()["versions"] == {"gsm8k": "3.0"}
    assert graded(task, "... #### 18")[1] == 1.0
    assert graded(task, "It is 18.")[1] == 0.0


def test_a_filter_can_be_chosen(tmp_path: Path) -> None:
    data = str(write_data(tmp_path))
    for name, score in (("strict-match", 0.0), ("flexible-extract", 1.0)):
        assert graded(open_task("reasoning", benchmark="gsm8k", data=data, filter=name), "It is 21.")[1] == score


def test_solutions_can_be_taught(little: Path) -> None:
    task = open_task("reasoning", benchmark=str(little), split="train", metric="math_verify")
    assert isinstance(task, Teachable)
    assert len(task.instances()) == 10
    observation = task.open(task.instances()[0]).reset()
    action = task.expert().act([], observation)
    text = task.completion_text(action)
    assert text == " 2 + 1 = 3\n#### 3"
    assert graded(task, text)[1] == 1.0
    first, second = (task.prompt(turns, observation) for turns in ([], [Turn(observation, text, action)]))
    assert second.messages[: len(first.messages)] == first.messages


AIME = {"problem": "p", "answer": "5"}


@pytest.mark.parametrize(
    ("name", "row", "right", "wrong"),
    [
        ("aime24", {"Problem": "p", "Answer": 5}, "so \\boxed{5}", "6"),
        ("aime25", AIME, "so \\boxed{5}", "6"),
        ("minerva_math500", {**AIME, "solution": "so $\\boxed{\\frac12}$"}, "it is $0.5$", "it is $0.6$"),
        ("minervamath", {"question": "q", "answer": "\\frac{1}{2}"}, "it is \\boxed{1/2}", "it is \\boxed{2}"),
        ("olympiadbench", {"question": "q", "final_answer": ["$2,3$"]}, "\\boxed{3, 2}", "\\boxed{3}"),
    ],
)
def test_named_benchmarks_open_on_local_data(
    tmp_path: Path, name: str, row: dict[str, Any], right: str, wrong: str
) -> None:
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps(row) + "\n")
    task = open_task("reasoning", benchmark=name, data=str(tmp_path))
    assert graded(task, right)[1] == 1.0
    assert graded(task, wrong)[1] == 0.0


@pytest.mark.parametrize(
    ("target", "answer", "right"),
    [
        ("#### 1,800", "#### 1800", True),
        ("\\frac{3}{4}", "0.75", True),
        ("2, 3", "\\boxed{3,2}", True),
        ("2, 3", "\\boxed{3}", False),
        ("x^2+2x+1", "$(x+1)^2$", True),
        ("18", "", False),
    ],
)
def test_equivalent_answers_are_right(target: str, answer: str, right: bool) -> None:
    assert math_verified(target, answer) == right


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"benchmark": "mbpp"}, "runs the code that models write"),
        ({"benchmark": "mbpp", "allow_unsafe_code": True}, "HF_ALLOW_CODE_EVAL=1"),
        ({"benchmark": "hellaswag"}, "only generation tasks"),
        ({"benchmark": "gsm8k_cot_self_consistency"}, "64 times: voting is for a router"),
        ({"benchmark": "nowhere.yaml"}, "no such file"),
        ({"benchmark": "gsm8k", "data": "."}, "put test.jsonl or train.jsonl there"),
        ({"split": "valid"}, "use one of train, validation, test"),
        ({"split": "validation"}, "has no split 'validation'"),
        ({"metric": "bleu"}, "use one of"),
        ({"filter": "words"}, "use one of letters"),
        ({"few_shot": -1}, "few_shot = -1"),
        ({"max_tokens": 0}, "max_tokens = 0"),
    ],
)
def test_wrong_arguments_are_named(
    little: Path, arguments: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_ALLOW_CODE_EVAL", raising=False)
    monkeypatch.delenv("REASONING_DATA", raising=False)
    monkeypatch.chdir(little.parent)
    with pytest.raises(MixrouteError, match=message):
        open_task("reasoning", **{"benchmark": str(little), **arguments})


def test_a_question_without_its_examples_file_is_refused(tmp_path: Path) -> None:
    write_data(tmp_path)
    (tmp_path / "train.jsonl").unlink()
    with pytest.raises(MixrouteError, match="draws 5 examples from a split that has no file"):
        open_task("reasoning", benchmark="gsm8k", data=str(tmp_path))
    assert len(open_task("reasoning", benchmark="gsm8k", data=str(tmp_path), few_shot=0).instances()) == 5
    with pytest.raises(MixrouteError, match="no split 'train' .or no file of it.: use test"):
        open_task("reasoning", benchmark="gsm8k", data=str(tmp_path), few_shot=0, split="train")


def test_everything_else_works_without_lm_eval() -> None:
    code = (
        "import sys; sys.modules['lm_eval'] = None\n"
        "from mixroute import MixrouteError, open_task\n"
        "assert open_task('arith-gen', split='dev').instances()\n"
        "try: open_task('reasoning', benchmark='gsm8k')\n"
        "except MixrouteError as error: print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'mixroute[reasoning]'" in result.stdout
