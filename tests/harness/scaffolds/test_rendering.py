"""What agents are shown: windows, thoughts of earlier turns, listed turns; and what of it is read once more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.backends.encoding import Encoder
from harness.backends.reading import BLOCK, NOTHING, Readings
from harness.data import Message, Prompt, Turn
from harness.plugins import open_task
from harness.scaffolds import ScaffoldedTask
from tests.tiny_model import tiny_tokenizer

BASE: dict[str, Any] = {
    "schema": 1, "name": "mine", "format": "chat", "instruction": "Act.", "stop": ["</act>"], "after_reply": "</act>",
    "reply": {
        "thought": {"open": "<think>", "close": "</think>"},
        "action": {"open": "<act>", "close": "</act>"},
    },
    "limits": {"thought_tokens": 64},
}  # fmt: skip


def open_mine(folder: Path, **changes: Any) -> ScaffoldedTask:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**BASE, **changes}))
    return opened(str(path))


def opened(prompt: str) -> ScaffoldedTask:
    task: Any = open_task("alfworld-gen", split="dev", games=1, prompt=prompt)
    assert isinstance(task, ScaffoldedTask)
    return task


def prompts(task: Any, steps: int) -> Iterator[Prompt]:
    """Prompts of an episode whose agent walks about and numbers its thoughts."""
    environment = task.open(task.instances()[0])
    observation = environment.reset()
    turns: list[Turn] = []
    for number in range(steps):
        yield task.prompt(turns, observation)
        action = observation.admissible[number % len(observation.admissible)]
        text = task.scaffold.reply_text(f"thought {number}", action)
        turns.append(Turn(observation, text, action, f"thought {number}"))
        observation = environment.step(action)[0]
    yield task.prompt(turns, observation)


def replies(prompt: Prompt) -> list[str]:
    return [message.content for message in prompt.messages if message.role == "assistant"]


@pytest.mark.parametrize(("thoughts", "kept"), [("keep", [0, 1, 2]), ("drop", []), ("last", [2])])
def test_thoughts_of_earlier_turns_are_kept_or_dropped(tmp_path: Path, thoughts: str, kept: list[int]) -> None:
    task = open_mine(tmp_path, history={"thoughts": thoughts})
    *_, last = prompts(task, 3)
    shown = replies(last)
    assert len(shown) == 3
    assert [number for number, text in enumerate(shown) if f"<think>thought {number}</think>" in text] == kept
    assert all(text.count("<act>") == 1 and text.endswith("</act>") for text in shown)
    assert last.append_only == (thoughts == "keep")


def test_the_last_turns_are_shown_and_those_left_out_counted(tmp_path: Path) -> None:
    task = open_mine(tmp_path, history={"last": 2, "left_out": "({left} of {played} left out.) "})
    second, *_, last = list(prompts(task, 5))[1:]
    assert "left out" not in second.messages[1].content
    assert last.messages[1].content.startswith("(3 of 5 left out.) ")
    assert len(replies(last)) == 2
    assert "thought 3" in replies(last)[0]


def test_turns_may_be_listed_in_one_message(tmp_path: Path) -> None:
    line = "{number}: {thought} -> {action}"
    history = {"last": 2, "line": line, "between": "; ", "left_out": "{left} more; "}
    message = "Goal: {goal}. {left_out}{history}. {number}: {observation}"
    task = open_mine(tmp_path, history=history, message=message, first_message="Goal: {goal}. {observation}")
    first, *_, last = prompts(task, 3)
    assert [message.role for message in first.messages] == ["system", "user"]
    assert [message.role for message in last.messages] == ["system", "user"]
    goal = first.messages[1].content.split("Goal: ")[1].partition(". ")[0]
    assert last.messages[1].content.startswith(f"Goal: {goal}. 1 more; 2: thought 1 -> ")
    assert "; 3: thought 2 -> " in last.messages[1].content
    assert ". 4: " in last.messages[1].content


@pytest.mark.parametrize("scaffold", ["compact", "think", "react", "window"])
def test_what_prompts_share_counts_as_cached(scaffold: str) -> None:
    encoder, read = Encoder(tiny_tokenizer()), Readings()
    before = NOTHING
    for number, prompt in enumerate(prompts(opened(scaffold), 7)):
        now = encoder.encode(prompt)
        common = next((n for n, (a, b) in enumerate(zip(before.ids, now.ids, strict=False)) if a != b), len(before.ids))
        cached = read.call("low", now, only_read=False)
        if prompt.append_only:
            assert cached == len(before.ids)
        else:
            assert cached == min(common, len(now.ids) - 1, len(before.ids)) // BLOCK * BLOCK
            assert number == 0 or BLOCK < cached < len(before.ids)
        before = now


@settings(max_examples=25)
@given(st.text("ab ", max_size=60), st.text("ab ", max_size=60), st.text("ab", max_size=40))
def test_blocks_of_part_of_an_answer_are_those_of_its_length(one: str, other: str, begun: str) -> None:
    encoder = Encoder(tiny_tokenizer())
    prompt = Prompt((Message("user", one), Message("user", other + ">")), "plain", append_only=False)
    whole, encoded = encoder.encode(prompt, begun), encoder.encode(prompt)
    assert whole.boundaries == encoded.continued(len(whole.ids), unknown=-1).boundaries
    assert whole.ids[: len(encoded.ids)] == encoded.ids
