"""Entries of every shipped scaffold are replayed and verified without a model, and what is forged is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from harness.config import shipped_names
from harness.pool import load_pool
from harness.scaffolds import SHIPPED, load_scaffold
from harness.traces.store import find_runs
from harness.verify.pools import Pools
from tests.harness.scaffolds.test_templates import THINKING
from tests.harness.verify.editing import Entry, copy_inline, failed, read, write
from tests.harness.verify.writer import play, save_pool

ROUTERS: list[Any] = [
    "always-low",
    {"router": "random", "args": {"p": 0.5}},
    {"router": "uncertainty", "args": {"threshold": 5.0}},
]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pool(tmp_path_factory.mktemp("pool"))


@pytest.fixture(scope="module")
def pools(pool: Path) -> Pools:
    return {"writer": load_pool(str(pool))}


@pytest.fixture(scope="module")
def thinking_pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool whose chat template reads ``enable_thinking``."""
    path = save_pool(tmp_path_factory.mktemp("thinking pool"))
    for name in ("high", "low"):
        tokenizer: Any = AutoTokenizer.from_pretrained(path.parent / name)
        tokenizer.chat_template = THINKING
        tokenizer.save_pretrained(path.parent / name)
    return path


def played(folder: Path, pool: Path, scaffold: str, steps: int = 3) -> Path:
    args = {"step_cap": steps, "prompt": scaffold}
    tasks = [{"task": "alfworld-gen", "split": "test", "limit": 2, "args": args}]
    return play(folder, pool, ROUTERS, tasks=tasks)


@pytest.fixture(scope="module")
def thinking(tmp_path_factory: pytest.TempPathFactory, pool: Path) -> Path:
    return next(iter(find_runs(played(tmp_path_factory.mktemp("think"), pool, "think"))))


@pytest.mark.parametrize("scaffold", shipped_names(SHIPPED))
def test_entries_of_every_scaffold_are_verified(tmp_path: Path, pool: Path, thinking_pool: Path, scaffold: str) -> None:
    own_template = bool(load_scaffold(scaffold).template_arguments)
    used = thinking_pool if own_template else pool
    # The listed actions of three steps would not fit the small models' context.
    entries = find_runs(played(tmp_path, used, scaffold, 2 if own_template else 3))
    assert len(entries) == len(ROUTERS)
    for entry in entries:
        assert failed(entry, {"writer": load_pool(str(used))}) == set()


def cut_step(entry: Entry) -> dict[str, Any]:
    """A step whose thought was cut."""
    step: dict[str, Any] = next(
        step for episode in entry["episodes"] for step in episode["steps"] if len(step["calls"]) > 1
    )
    return step


def other_thought(entry: Entry) -> None:
    cut_step(entry)["thought"] = "I know"


def no_forced_text(entry: Entry) -> None:
    del cut_step(entry)["calls"][1]["forced"]


def other_forced_text(entry: Entry) -> None:
    step = cut_step(entry)
    forced = step["calls"][1]["forced"]
    step["calls"][1]["forced"] = f"\n{forced}"
    step["text"] = step["text"].replace(forced, f"\n{forced}", 1)


def other_action_tokens(entry: Entry) -> None:
    for episode in entry["episodes"]:
        for step in episode["steps"]:
            for call in step["calls"]:
                call["action_tokens"] = [0, call["content_tokens"]]


def impossible_tokens(entry: Entry) -> None:
    cut_step(entry)["calls"][0]["thought_tokens"] = [5, 3]


def one_call_less(entry: Entry) -> None:
    del cut_step(entry)["calls"][1]


@pytest.mark.parametrize(
    "forge", [other_thought, no_forced_text, other_forced_text, other_action_tokens, impossible_tokens, one_call_less]
)
def test_what_is_forged_is_found(tmp_path: Path, thinking: Path, pools: Pools, forge: Callable[[Entry], None]) -> None:
    folder = tmp_path / "entry"
    copy_inline(thinking, folder)
    assert failed(folder, pools) == set()
    entry = read(folder)
    forge(entry)
    write(entry, folder)
    assert failed(folder, pools)


def test_parts_of_calls_of_agents_that_do_not_think_are_found(tmp_path: Path, pool: Path, pools: Pools) -> None:
    folder = tmp_path / "entry"
    copy_inline(find_runs(played(tmp_path, pool, "compact"))[0], folder)
    entry = read(folder)
    entry["episodes"][0]["steps"][0]["calls"][0]["action_tokens"] = [0, 0]
    write(entry, folder)
    assert failed(folder, pools) == {"thoughts and actions have the tokens that the texts say"}
