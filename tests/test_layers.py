"""The check of layers in ``make lint``: the tree passes it, and it names an import that points upwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.command import ROOT


def check(folder: Path) -> tuple[int, str]:
    """Exit code and output of the check of the packages below ``folder``, by the table of its pyproject.toml."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "160"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def without_data(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if not name.endswith(".py") and not Path(folder, name).is_dir()]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages and their table."""
    folder = tmp_path_factory.mktemp("tree")
    shutil.copy(ROOT / "pyproject.toml", folder)
    table = tomllib.loads((folder / "pyproject.toml").read_text())["tool"]["importlinter"]
    for package in table["root_packages"]:
        shutil.copytree(ROOT / package, folder / package, ignore=without_data)
    return folder


def test_no_import_points_upwards(tree: Path) -> None:
    code, output = check(tree)
    assert code == 0, output


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("harness.seeding", "harness.board.table"),
        ("harness.traces.cost", "harness.training.card"),
        ("harness.board.table", "harness.engine.runner"),  # of one layer
        ("harness.seeding", "routers.always"),
        ("tasks.alfworld.rules", "routers.always"),
    ],
)
def test_a_wrong_import_is_named(tree: Path, module: str, imported: str) -> None:
    path = (tree / module.replace(".", "/")).with_suffix(".py")
    source = path.read_text()
    line = len(source.splitlines()) + 3
    path.write_text(f"{source}\ndef late() -> None:\n    import {imported}\n")
    try:
        code, output = check(tree)
    finally:
        path.write_text(source)
    assert code == 1
    assert f"{module} -> {imported} (l.{line})" in output


def test_a_module_that_the_table_does_not_name_is_refused(tree: Path) -> None:
    path = tree / "harness" / "attic.py"
    path.touch()
    try:
        code, output = check(tree)
    finally:
        path.unlink()
    assert code == 1
    assert "attic" in output
