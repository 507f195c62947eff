"""Prompts of the scaffolds ``compact``, ``few-shot`` and ``chat``, as they were before scaffolds were files.

``recorded.json`` was written by this module at commit 8ec7c41: ``python -m tests.harness.scaffolds.recorded > FILE``.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

from harness.contracts import Teachable
from harness.data import Prompt, Turn
from harness.plugins import open_task

FILE = Path(__file__).with_name("recorded.json")
SMALL: dict[str, dict[str, Any]] = {
    "alfworld-gen": {"split": "train", "games": 2},
    "webshop-gen": {"split": "train", "goals": 2, "products": 300},
}


def settings() -> Iterator[tuple[str, dict[str, Any]]]:
    """Tasks with the arguments that change their prompts."""
    for shown, dialect, prompt in product((False, True), ("0.4", "0.3"), ("compact", "few-shot", "chat")):
        yield "alfworld-gen", {"show_admissible": shown, "dialect": dialect, "prompt": prompt}
    for shown, form, budget, prompt in product((False, True), ("text", "text_rich"), (120, 20), ("compact", "chat")):
        yield "webshop-gen", {"show_admissible": shown, "observation": form, "page_budget": budget, "prompt": prompt}


def played(task: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The protocol of a task, and the prompts of its expert's episodes."""
    opened = open_task(task, **SMALL[task], **arguments)
    assert isinstance(opened, Teachable)
    expert, prompts = opened.expert(), []
    for instance in opened.instances():
        environment = opened.open(instance)
        observation, done = environment.reset(), False
        turns: list[Turn] = []
        while not done and len(turns) < opened.step_cap:
            prompts.append(opened.prompt(turns, observation))
            action = expert.act(turns, observation)
            text = opened.completion_text(action)
            turns.append(Turn(observation, text, opened.parse_action(text)))
            observation, _, done = environment.step(action)
        prompts.append(opened.prompt(turns, observation))
    whole = json.dumps([_plain(prompt) for prompt in prompts])
    return {
        "task": task,
        "arguments": arguments,
        "protocol": dict(opened.protocol()),
        "count": len(prompts),
        "prompts": hashlib.sha256(whole.encode()).hexdigest(),
        "second": _plain(prompts[1]),
    }


def _plain(prompt: Prompt) -> list[Any]:
    return [prompt.format, [asdict(message) for message in prompt.messages]]


if __name__ == "__main__":
    json.dump([played(*one) for one in settings()], sys.stdout, indent=1)
