"""Agents learn the thoughts of an expert that thinks, and all of the text that ends a reply."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from harness.backends.encoding import Encoder
from harness.data import Observation, Turn
from harness.training.demonstrate import Demonstration, demonstrations, open_lesson
from harness.training.examples import IGNORED, encode
from harness.training.recipe import Lesson
from tasks.alfworld.expert import Expert
from tests.tiny_model import tiny_tokenizer


def think(self: Expert, turns: Sequence[Turn], observation: Observation) -> str:
    return f"step {len(turns) + 1}, so I act"


def taught(prompt: str) -> tuple[Demonstration, str]:
    """A demonstration, and all the text that is learned of it."""
    lesson = Lesson.model_validate({"task": "alfworld-gen", "args": {"games": 1, "prompt": prompt}})
    opened = open_lesson(lesson)
    (demonstration,) = demonstrations(lesson, opened, 0)
    tokenizer = tiny_tokenizer()
    example = encode(demonstration, opened.task, Encoder(tokenizer))
    return demonstration, tokenizer.decode([label for label in example.labels if label != IGNORED])


@pytest.fixture
def thinking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Expert, "think", think, raising=False)


@pytest.mark.usefixtures("thinking")
def test_thought_and_action_are_learned_with_the_tag_that_ends_them() -> None:
    demonstration, learned = taught("think")
    first = demonstration.turns[0]
    assert first.thought == "step 1, so I act"
    assert first.text == f"<think>step 1, so I act</think><action>{first.action}"
    assert learned == "".join(f"{turn.text}</action>" for turn in demonstration.turns)


@pytest.mark.usefixtures("thinking")
def test_scaffolds_without_thoughts_learn_actions_alone() -> None:
    demonstration, learned = taught("compact")
    assert not any(turn.thought for turn in demonstration.turns)
    assert learned == "".join(f" {turn.action}\n" for turn in demonstration.turns)
