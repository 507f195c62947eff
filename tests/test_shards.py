"""Shards from the command line, end to end: two jobs that know nothing of each other make the run of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.traces.store import find_runs, read_meta
from tests.command import ROOT, mixroute
from tests.small_suite import write_suite

EXAMPLES = ROOT / "examples/cluster"
RUN = ("run", "suite.yaml", "--no-reuse")


def traces(root: Path) -> dict[str, bytes]:
    """The traces by run, calibration included."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("episodes.jsonl")}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, tiny_pool: Path) -> Path:
    """A folder with the whole suite in ``whole``, and its two shards in ``1`` and ``2``."""
    folder = tmp_path_factory.mktemp("shards")
    write_suite(folder, tiny_pool, routers=["always-low", {"router": "uncertainty", "args": {"target_share": 0.5}}])
    mixroute(*RUN, "--out", "whole", cwd=folder)
    mixroute(*RUN, "--shard", "1/2", "--out", "1", cwd=folder)
    script = ("bash", EXAMPLES / "shards.sbatch", "--no-reuse", "--out", "2")
    job = {"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_CPUS_PER_TASK": "1"}
    names = {"MIXROUTE": f"{sys.executable} -m mixroute", "SUITE": "suite.yaml"}
    subprocess.run(script, cwd=folder, env={**os.environ, **job, **names}, check=True, capture_output=True)
    return folder


def test_merged_shards_are_the_whole_run_byte_for_byte(played: Path, tmp_path: Path) -> None:
    done = mixroute("merge", "1", "2", "--out", tmp_path / "merged", cwd=played)
    assert "mixroute board" in done.stdout
    assert traces(tmp_path / "merged") == traces(played / "whole")
    lines = {path.parent.name: path.read_text().count("\n") for path in (tmp_path / "merged").glob("*/timings.jsonl")}
    assert set(lines.values()) == {6}
    mixroute("pack", tmp_path / "merged", "--out", tmp_path / "entries", cwd=played)
    mixroute("merge", "1", "2", "--out", tmp_path / "merged", cwd=played)  # nothing changes
    assert traces(tmp_path / "merged") == traces(played / "whole")


def test_a_shard_is_a_run_that_is_not_finished(played: Path, tmp_path: Path) -> None:
    whole, shard = ({read_meta(run).hash: read_meta(run) for run in find_runs(played / one)} for one in ("whole", "1"))
    assert {one: meta.instances for one, meta in shard.items()} == {one: meta.instances for one, meta in whole.items()}
    refused = mixroute("pack", "1", "--out", tmp_path, cwd=played, code=2)
    assert "lacks 3 of 6 episodes" in refused.stderr
    mixroute("board", "1", "--out", tmp_path / "board", cwd=played)
    rows = json.loads((tmp_path / "board/board.json").read_text())["rows"]
    assert [row["episodes"] for row in rows] == [3, 3]


def test_what_is_missing_is_said_and_then_played_by_run(played: Path, tmp_path: Path) -> None:
    partly = mixroute("merge", "2", "--out", tmp_path / "merged", cwd=played, code=1)
    assert partly.stderr.count("3 of 6 episodes are missing") == 2
    assert f"mixroute run SUITE --out {tmp_path / 'merged'}" in partly.stderr
    mixroute(*RUN, "--out", tmp_path / "merged", cwd=played)
    assert traces(tmp_path / "merged") == traces(played / "whole")


def test_a_plan_counts_the_share_alone(played: Path, tmp_path: Path) -> None:
    mixroute("run", "suite.yaml", "--shard", "1/4", "--plan", "--out", tmp_path / "plan", cwd=played)
    plan = json.loads((tmp_path / "plan/plan.json").read_text())
    assert [run["instances"] for run in plan["runs"]] == [2, 2, 2]  # the second is of development games, all of them
    assert mixroute(*RUN, "--shard", "9/4", cwd=played, code=2).stderr.count("\n") == 1
