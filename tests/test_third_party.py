"""A router and a task of somebody else's package are found and run, and no file of ours is edited."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
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


@pytest.mark.parametrize(
    ("module", "source", "reason"),
    [
        ("absent", None, "ModuleNotFoundError"),
        ("exits", "raise SystemExit(0)", "SystemExit: 0"),
        ("fails", "class Mine:\n    'Mine.'\nraise ValueError('no luck')", "ValueError: no luck"),
        ("empty", "", "AttributeError"),
        ("folder.deep", None, "ModuleNotFoundError"),
    ],
)
def test_a_package_that_cannot_be_imported_is_listed_as_broken(
    tmp_path: Path, module: str, source: str | None, reason: str
) -> None:
    info = tmp_path / "site/broken-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[mixroute.routers]\nbroken-router = {module}:Mine\n")
    if source is not None:
        (tmp_path / f"site/{module}.py").write_text(source)
    env = {"PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(ROOT)])}
    listed = mixroute("list", cwd=tmp_path, env=env).stdout
    assert "always-high" in listed
    (line,) = [line for line in listed.splitlines() if "broken-router" in line]
    assert f"(router 'broken-router' ({module}:Mine) fails on import: {reason}" in line
