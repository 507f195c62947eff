"""A router and a task of somebody else's package are found and run, and no file of ours is edited."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

from harness.traces.store import find_runs, read_episodes, read_meta
from tests.command import ROOT, mixroute


def test_an_installed_package_adds_a_router_and_a_task(tmp_path: Path, tiny_pool: Path) -> None:
    site = tmp_path / "site"
    source = tmp_path / "source"
    (source / "src").mkdir(parents=True)
    for name in ("pyproject.toml", "src/mixroute_third_party.py"):
        (source / name).write_bytes((ROOT / "tests/third_party" / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(site), str(source)], check=True)
    env = {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}

    listed = mixroute("list", cwd=tmp_path, env=env).stdout
    assert "last-k" in listed
    assert "countdown" in listed

    suite = {
        "schema": 1,
        "name": "theirs",
        "pool": str(tiny_pool),
        "tasks": [{"task": "countdown", "split": "test"}],
        "routers": ["always-high", {"router": "last-k", "args": {"k": 1}}],
    }
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(suite))
    mixroute("run", "suite.yaml", "--out", "runs", cwd=tmp_path, env=env)
    assert {read_meta(folder).role for folder in find_runs(tmp_path / "runs")} == {"baseline"}
    by_router = {read_meta(folder).router: list(read_episodes(folder)) for folder in find_runs(tmp_path / "runs")}
    assert [[step.model for step in e.steps] for e in by_router["last-k"]] == [
        ["low"],
        ["low", "high"],
        ["low", "high", "high"],
    ]
    assert [episode.score for episode in by_router["always-high"]] == [1.0, 2.0, 3.0]


FAULTS = {
    "missing": "import no_such_module",
    "exits": "import sys\nsys.exit(0)",
    "syntax": "def (",
    "raises": "raise ValueError('no \x1b[31m luck')",
    "no_class": "Thing = 3\nthing = 3",
    "no_attribute": "",
}


def test_plugins_that_cannot_be_imported_are_listed_as_broken_and_the_rest_works(
    tmp_path: Path, tiny_pool: Path
) -> None:
    site = tmp_path / "site"
    info = site / "theirs-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    lines = []
    for group, attribute in (("routers", "Thing"), ("tasks", "Thing"), ("backends", "Thing"), ("commands", "thing")):
        lines.append(f"[mixroute.{group}]")
        lines += [f"bad-{name} = broken_{name}:{attribute}" for name in FAULTS]
    lines += ["train bad-missing = broken_missing:thing"]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for name, source in FAULTS.items():
        (site / f"broken_{name}.py").write_text(source)
    env = {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]), "COLUMNS": "300"}

    listed = mixroute("list", cwd=tmp_path, env=env)
    for name in FAULTS:
        shown = [line for line in listed.stdout.splitlines() if line.split()[:1] == [f"bad-{name}"]]
        assert len(shown) == 4, name  # a router, a task, a backend, a command
        assert all("broken: " in line for line in shown)
    assert "No module named 'no_such_module'" in listed.stdout
    assert "always-high" in listed.stdout
    assert "Traceback" not in listed.stderr

    assert "challenge" in mixroute("--help", cwd=tmp_path, env=env).stdout
    told = mixroute("train", "bad-missing", cwd=tmp_path, env=env, code=2).stderr
    assert told.startswith("error: command 'train bad-missing' (broken_missing:thing) fails on import: ")
    suite = {"schema": 1, "name": "s", "pool": str(tiny_pool), "tasks": [{"task": "arith-gen", "split": "dev"}]}
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump({**suite, "routers": ["always-low"]}))
    assert "plan of suite s" in mixroute("run", "suite.yaml", "--plan", cwd=tmp_path, env=env).stdout
    refused = mixroute("run", "suite.yaml", "--router", "bad-exits", cwd=tmp_path, env=env, code=2).stderr
    assert refused.startswith("error: router 'bad-exits' (broken_exits:Thing) fails on import: SystemExit: 0")
