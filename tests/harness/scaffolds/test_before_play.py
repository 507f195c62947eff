"""What a scaffold asks of the models is checked before the first episode: one line each, and exit code 2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.command import mixroute
from tests.harness.scaffolds.test_schema import write
from tests.harness.verify.writer import save_pool
from tests.small_suite import write_suite


def without_template(folder: Path) -> None:
    for name in ("high", "low"):
        (folder / name / "chat_template.jinja").unlink(missing_ok=True)
        path = folder / name / "tokenizer_config.json"
        config = json.loads(path.read_text())
        config.pop("chat_template", None)
        path.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"template_arguments": {"enable_thinking": True}}, "reads no argument 'enable_thinking'"),
        ({"limits": {"thought_tokens": 5000}}, "leaves no room in a context of 4096"),
        ({"name": "bare"}, "has no chat template"),
        ({"histroy": {}}, "unknown key 'histroy': did you mean 'history'?"),
    ],
)
def test_what_models_cannot_do_is_one_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    pool = save_pool(tmp_path)
    if changes.get("name") == "bare":
        without_template(tmp_path)
    args = {"step_cap": 1, "prompt": write(tmp_path, **changes)}
    tasks = [{"task": "alfworld-gen", "split": "test", "limit": 1, "args": args}]
    suite = write_suite(tmp_path, pool, tasks=tasks, routers=["always-low"])
    ended = mixroute("run", suite, cwd=tmp_path, code=2)
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert message in errors[0]
