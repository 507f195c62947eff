"""Scaffolds are named in a suite, on the command line, or as the task's argument: all mean the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.config import check
from harness.engine.identity import task_arguments
from harness.errors import MixrouteError
from harness.plugins import open_task
from harness.suite import Suite, TaskEntry, with_changes
from harness.traces.store import find_runs, read_episodes, read_meta
from tests.command import mixroute
from tests.harness.scaffolds.test_schema import write
from tests.harness.verify.editing import failed
from tests.harness.verify.writer import save_pool
from tests.small_suite import write_suite

GEN: dict[str, Any] = {"task": "alfworld-gen", "split": "dev"}


def entry(**changes: Any) -> TaskEntry:
    return check({**GEN, **changes}, TaskEntry, "suite")


def test_the_key_of_a_suite_is_short_for_the_argument() -> None:
    assert entry(scaffold="think", args={"games": 2}) == entry(args={"games": 2, "prompt": "think"})
    assert task_arguments(entry(scaffold="compact")) == task_arguments(entry())


def test_the_option_gives_every_task_a_scaffold() -> None:
    tasks = [{**GEN, "scaffold": "chat"}, {"task": "webshop-gen", "split": "dev"}]
    content = {"schema": 1, "name": "two", "pool": "smollm2", "tasks": tasks, "routers": ["always-low"]}
    changed = with_changes(check(content, Suite, "suite"), scaffold="think")
    assert [task.args for task in changed.tasks] == [{"prompt": "think"}, {"prompt": "think"}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scaffold": "think", "args": {"prompt": "think"}}, "'scaffold' and args.prompt name the same: give one"),
        ({"scaffold": 5}, "scaffold = 5: give the name of a scaffold, or a .yaml file"),
        ({"scaffold": ""}, "scaffold = '': give the name"),
    ],
)
def test_what_says_nothing_or_both_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(MixrouteError) as raised:
        entry(**changes)
    assert message in str(raised.value)


def test_a_task_with_prompts_of_its_own_says_so() -> None:
    with pytest.raises(MixrouteError, match="it has prompts of its own, and no scaffold"):
        open_task("reasoning", benchmark="gsm8k", prompt="think")


def test_a_file_of_ones_own_is_played_by_the_option_and_verified(tmp_path: Path) -> None:
    tasks = [{"task": "alfworld-gen", "split": "test", "limit": 1, "args": {"step_cap": 2}}]
    suite = write_suite(tmp_path, save_pool(tmp_path), tasks=tasks, routers=["always-low"])
    mine = Path(write(tmp_path, limits={"thought_tokens": 8}))
    mixroute("run", suite, "--scaffold", mine.name, "--out", "runs", cwd=tmp_path)
    (run,) = find_runs(tmp_path / "runs")
    meta = read_meta(run)
    assert meta.protocol["prompt"] == "mine"
    assert set(meta.content) == {"task_args.prompt"}
    (episode,) = read_episodes(run)
    assert [call.forced for call in episode.steps[0].calls] == ["", "<act>"]
    mine.write_text(mine.read_text() + "# said otherwise\n")
    mixroute("run", suite, "--scaffold", mine.name, "--out", "runs", cwd=tmp_path)
    assert len(find_runs(tmp_path / "runs")) == 2
    assert failed(run), "a published entry names no files"
