"""The folder ``examples``: each runs as it says, and imports nothing but ``mixroute``."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mixroute import load_results
from tests.command import ROOT, mixroute

EXAMPLES = ROOT / "examples"


def notebook() -> str:
    """The code of the notebook as one program; lines for IPython are left out."""
    cells = json.loads((EXAMPLES / "quickstart.ipynb").read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return "\n".join(line for line in code.splitlines() if not line.startswith("%"))


def test_router_task_and_backend_play_together(tmp_path: Path) -> None:
    mixroute("run", "examples/suite.yaml", "--out", tmp_path, cwd=ROOT)
    results = load_results(tmp_path)
    success = {row.label: row.success.mean for row in results.board.rows}
    assert success["always-high"] == 1.0  # seven guesses are enough for a hundred numbers
    assert success["always-low"] is not None
    assert success["always-low"] < 1.0
    assert set(results.episodes().groupby("label").size()) == {20}
    share = results.to_pandas().set_index("label")["high_share"]
    assert 0 < share["last-k"] < 1


@pytest.mark.parametrize("pool", ["tiny", pytest.param("smollm2", marks=pytest.mark.model)])
def test_the_notebook_runs(tmp_path: Path, tiny_pool: Path, pool: str) -> None:
    program = notebook()
    assert 'POOL = "smollm2"\n' in program
    if pool == "tiny":
        program = program.replace('POOL = "smollm2"', f"POOL = {str(tiny_pool)!r}")
    program += "\nassert len(results.episodes()) == 3 * 4\nassert len(results.plot().axes) == 1\n"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=900
    )
    assert ran.returncode == 0, ran.stderr
    assert {line.split()[0] for line in ran.stdout.splitlines()} == {
        "success",
        "score",
        "high_share",
        "weight_bytes",
        "flops",
    }
    assert len(load_results(tmp_path / "runs/quickstart").folders) == 3


def test_examples_import_nothing_of_ours_but_the_public_package() -> None:
    sources = {path.name: path.read_text(encoding="utf-8") for path in EXAMPLES.glob("*.py")}
    sources["quickstart.ipynb"] = notebook()
    assert len(sources) >= 4
    for name, source in sources.items():
        imported = {
            alias.name.partition(".")[0]
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Import)
            for alias in node.names
        } | {
            (node.module or "").partition(".")[0]
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.ImportFrom)
        }
        assert "mixroute" in imported, name
        assert not imported & {"harness", "routers", "tasks", "tests"}, name
