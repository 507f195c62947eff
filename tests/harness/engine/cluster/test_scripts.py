"""The files of ``examples/cluster`` do what docs/cluster.md says, with stand-ins for what a cluster has."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner

from harness.cli import app
from harness.traces.store import find_runs, read_episodes
from tests.command import ROOT
from tests.small_suite import write_suite

EXAMPLES = ROOT / "examples/cluster"


def test_the_slurm_job_plays_on_the_cluster_that_it_starts(cluster: Any, tmp_path: Path, tiny_pool: Path) -> None:
    """The stand-in for Ray starts none, and runs what follows ``--`` on the cluster at the address that it is given."""
    write_suite(tmp_path, tiny_pool, routers=["always-low"])
    host, _, port = cluster.address.rpartition(":")
    stand_ins = {
        "scontrol": f'test "$*" = "show hostnames n[1-2]" && printf "{host}\\nother\\n"',
        "srun": 'shift 2; exec "$@"',
        "ray": f'test "$3" = {cluster.address} && while [ "$1" != -- ]; do shift; done; shift; exec "$@"',
    }
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, script in stand_ins.items():
        (tools / name).write_text(f"#!/bin/bash\n{script}\n")
        (tools / name).chmod(0o755)
    job = {"SLURM_JOB_NODELIST": "n[1-2]", "SLURM_NNODES": "2", "SLURM_CPUS_PER_TASK": "1", "PORT": port}
    names = {"MIXROUTE": f"{sys.executable} -m mixroute", "SUITE": "suite.yaml"}
    subprocess.run(
        ["bash", EXAMPLES / "ray.sbatch", "--workers", "1", "--cpus-per-worker", "1", "--out", "runs"],
        cwd=tmp_path,
        env={**os.environ, **job, **names, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"},
        check=True,
        capture_output=True,
    )
    (run,) = find_runs(tmp_path / "runs")
    assert len(list(read_episodes(run))) == 6


def test_the_kubernetes_job_runs_a_command_that_there_is() -> None:
    claim, job = yaml.safe_load_all((EXAMPLES / "rayjob.yaml").read_text())
    name, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert name == "mixroute"
    parsed = CliRunner().invoke(app, [*arguments, "--help"])
    assert parsed.exit_code == 0, parsed.output
    groups = [job["spec"]["rayClusterSpec"]["headGroupSpec"], *job["spec"]["rayClusterSpec"]["workerGroupSpecs"]]
    pins = dict(line.split("==") for line in (ROOT / "constraints-ray.txt").read_text().splitlines())
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == pins["ray"]
    for pod in (group["template"]["spec"] for group in groups):
        (volume,), (container,) = pod["volumes"], pod["containers"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        mounted = [one["mountPath"] for one in container["volumeMounts"]]
        assert mounted == [container["workingDir"]]
        assert arguments[arguments.index("--out") + 1].startswith(mounted[0])
