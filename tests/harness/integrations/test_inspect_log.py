"""Exported runs are opened by inspect_ai's own reader, in its own environment."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.command import mixroute
from tests.harness.board.builders import Play, Run, write_run
from tests.shared_data import REPOSITORY

READER = """
import json, sys
from inspect_ai.log import read_eval_log
log = read_eval_log(sys.argv[1])
first = log.samples[0]
print(json.dumps({
    "status": log.status, "task": log.eval.task, "solver": log.eval.solver, "ids": [one.id for one in log.samples],
    "mean": log.results.scores[0].metrics["mean"].value, "epoch": first.epoch, "error": log.samples[1].error.message,
    "models": [getattr(one, "model", None) for one in first.messages], "text": first.messages[0].text,
    "used": first.model_usage["low"].output_tokens, "success": first.scores["success"].value,
}))
"""


def plays() -> dict[str, Play]:
    return {"game/0": Play("hl", text="<b>a room</b>"), "game/1": Play("l", success=False, error="ValueError: lost")}


def read(path: Path) -> dict[str, Any]:
    environment = REPOSITORY / ".venv-inspect"
    if not (environment / ".ready").exists():  # made last: an install that broke off leaves a Python too
        pytest.skip("inspect_ai is not installed: run 'make inspect-env'")
    done = subprocess.run(
        [environment / "bin" / "python", "-c", READER, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_inspect_reads_what_is_exported(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "one", Run("dmr", plays(), seed=2))
    mixroute("export", "runs", "--out", "logs", cwd=tmp_path)
    (path,) = (tmp_path / "logs").iterdir()
    assert read(path) == {
        "status": "success",
        "task": "alfworld/valid_unseen",
        "solver": "dmr",
        "ids": ["game/0", "game/1"],
        "mean": 0.5,
        "epoch": 3,
        "error": "ValueError: lost",
        "models": [None, "high", None, "low", None],
        "text": "<b>a room</b>",
        "used": 3,
        "success": 1,
    }


def test_an_unfinished_run_says_so(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "one", Run("dmr", plays(), planned=["game/0", "game/1", "game/2"]))
    mixroute("export", "runs", "--out", "logs", cwd=tmp_path)
    (path,) = (tmp_path / "logs").iterdir()
    assert json.loads(path.read_text())["status"] == "cancelled"
