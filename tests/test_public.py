"""mixroute as a library: what ``import mixroute`` gives."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import mixroute
from mixroute import MixrouteError, Results, Step, StepRouter, Suite, register_router
from tests.command import ROOT
from tests.small_suite import SUITE


class Alternate(StepRouter):
    """Defined by the caller, as in a notebook."""

    def choose(self, step: Step) -> str:
        return "high" if step.index % 2 else "low"


register_router("alternate")(Alternate)


def small_suite(pool: Path, **changes: object) -> Suite:
    return Suite.model_validate({**SUITE, "pool": str(pool), "routers": ["always-high", "always-low"]} | changes)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, tiny_pool: Path) -> Results:
    """Runs of three routers on four games."""
    out = tmp_path_factory.mktemp("public")
    suite = small_suite(tiny_pool, routers=["always-high", "always-low", "alternate"])
    return mixroute.run(suite, out, limit=4, seeds=[1])


def python(code: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_every_public_name_is_there_and_no_other() -> None:
    assert mixroute.__version__ == version("mixroute")
    for name in mixroute.__all__:
        assert getattr(mixroute, name) is not None
    assert set(mixroute.__all__) <= set(dir(mixroute))
    with pytest.raises(AttributeError, match="module 'mixroute' has no attribute 'open_tusk'"):
        _ = mixroute.open_tusk  # type: ignore[attr-defined]


def test_importing_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys, mixroute\n"
        "assert 'harness' not in sys.modules\n"
        "from mixroute import *\n"
        "print([name for name in ('torch', 'transformers', 'matplotlib', 'pandas') if name in sys.modules])\n"
    )
    result = python(code, tmp_path)
    assert result.stdout == "[]\n", result.stderr


def test_run_gives_results_of_all_that_was_asked_for(results: Results) -> None:
    assert len(results.folders) == 3
    assert "alternate" in repr(results)
    assert {(row.label, row.episodes, row.seeds) for row in results.board.rows} == {
        ("always-high", 4, 1),
        ("always-low", 4, 1),
        ("alternate", 4, 1),
    }


def test_a_row_of_the_frame_is_a_row_of_the_board(results: Results) -> None:
    frame = results.to_pandas().set_index("label")
    for row in results.board.rows:
        assert frame.loc[row.label, "success_mean"] == row.success.mean
        assert frame.loc[row.label, "cost_weight_bytes"] == row.cost["weight_bytes"]
        assert frame.loc[row.label, "episodes"] == row.episodes
    assert len(frame) == len(results.board.rows)


def test_a_row_of_episodes_is_an_episode(results: Results) -> None:
    frame = results.episodes()
    assert len(frame) == 3 * 4
    assert set(frame["seed"]) == {1}
    by_label = frame.groupby("label")
    for row in results.board.rows:
        assert by_label["success"].mean()[row.label] == row.success.mean
        assert by_label["weight_bytes"].mean()[row.label] == pytest.approx(row.cost_absolute["weight_bytes"])
    assert by_label["high_share"].mean()["alternate"] == pytest.approx(1 / 3)  # the second of three steps


def test_two_routers_are_compared_on_the_same_games(results: Results) -> None:
    by_figure = {one.figure: one for one in results.compare("alternate", "always-low")}
    assert by_figure["success"].difference.pairs == 4
    assert by_figure["high_share"].difference.difference.mean == pytest.approx(1 / 3)
    with pytest.raises(MixrouteError, match="no group of runs has both 'alternate' and 'nobody'"):
        results.compare("alternate", "nobody")


def test_results_are_tables_for_a_paper(results: Results) -> None:
    text = results.to_latex(["label", "success %"], rows=["always-*"], caption="Mine")
    assert text.count(r"\begin{tabularx}") == 1
    assert r"\caption{Mine. " in text
    assert "always-low & " in text
    assert "alternate" not in text
    with pytest.raises(MixrouteError, match="no column 'none'"):
        results.to_latex(["none"])


def test_the_plot_names_every_router(results: Results) -> None:
    (axes,) = results.plot().axes
    assert {text.get_text() for text in axes.texts} == {"always-high", "always-low", "alternate"}


def test_results_are_loaded_from_one_folder_or_several(results: Results, tmp_path: Path) -> None:
    root = results.folders[0].parent
    assert mixroute.load_results(root).folders == results.folders
    assert mixroute.load_results(str(folder) for folder in results.folders).folders == results.folders
    written = mixroute.board(root, tmp_path)
    assert written == results.board
    assert len(json.loads((tmp_path / "board.json").read_text())["rows"]) == 3
    with pytest.raises(MixrouteError, match="holds no run"):
        mixroute.load_results(tmp_path)


def test_changes_are_checked_like_a_suite(tiny_pool: Path, tmp_path: Path) -> None:
    suite = small_suite(tiny_pool)
    for changes, message in (
        ({"limit": 0}, "limit"),
        ({"seeds": [1, 1]}, "repeat one"),
        ({"only": ["nobody"]}, "'nobody'"),
        ({"concurrency": 0}, "concurrency"),
        ({"routers": ["nobody"]}, "unknown router 'nobody'"),
        ({"pool": "smolm2"}, "did you mean 'smollm2'"),
    ):
        options: dict[str, Any] = changes
        with pytest.raises(MixrouteError, match=message):
            mixroute.run(suite, tmp_path / "runs", **options)
    assert not (tmp_path / "runs").exists()


def test_a_pool_is_opened_and_closed(tiny_pool: Path) -> None:
    task = mixroute.open_task("alfworld-gen", split="test")
    environment = task.open(task.instances()[0])
    prompt = task.prompt((), environment.reset())
    with mixroute.open_pool(tiny_pool) as models:
        assert sorted(models) == ["high", "low"]
        assert models["low"].card().weight_bytes < models["high"].card().weight_bytes
        answer = asyncio.run(models["high"].generate(mixroute.Request("mine", prompt, max_tokens=3)))
        assert len(answer.tokens) == 3


def test_a_notebook_plays_although_its_own_loop_runs(tiny_pool: Path, tmp_path: Path, results: Results) -> None:
    async def cell() -> Results:
        return mixroute.run(small_suite(tiny_pool), tmp_path, limit=4, seeds=[1], only=["always-low"])

    played = asyncio.run(cell())
    (same,) = [folder for folder in results.folders if folder.name == played.folders[0].name]
    assert (played.folders[0] / "episodes.jsonl").read_bytes() == (same / "episodes.jsonl").read_bytes()


def test_a_notebook_can_be_interrupted_and_goes_on(tiny_pool: Path, tmp_path: Path) -> None:
    suite = small_suite(tiny_pool, routers=["always-low"], concurrency=1)

    def interrupt() -> None:
        while not any(path.stat().st_size for path in tmp_path.glob("*/episodes.jsonl")):
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    async def cell() -> None:
        mixroute.run(suite, tmp_path, reuse=False, limit=40)

    loop = asyncio.new_event_loop()  # unlike asyncio.run it leaves Python's handler of the signal
    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(cell())
    loop.close()
    assert 1 <= len(mixroute.load_results(tmp_path).episodes()) < 40
    assert len(mixroute.run(suite, tmp_path, limit=40).episodes()) == 40


@pytest.mark.parametrize("name", ["harness.py", "tasks.py", "routers/__init__.py"])
def test_a_file_of_the_user_that_hides_ours_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    for code in ("import mixroute", "from mixroute import StepRouter"):  # sys.path begins with the working directory
        result = python(code, tmp_path)
        assert result.returncode == 1
        package = name.partition("/")[0].removesuffix(".py")
        assert result.stderr.splitlines()[-1].startswith(
            f"harness.errors.MixrouteError: {tmp_path / name} hides mixroute's own package '{package}': rename it"
        )
    command = [sys.executable, "-m", "mixroute", "list"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    shown = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert shown.returncode == 2
    assert shown.stderr.startswith(f"error: {tmp_path / name} hides")
    assert shown.stderr.count("\n") == 1


def test_the_script_does_not_mind_what_lies_where_it_is_run(tmp_path: Path) -> None:
    """Its ``sys.path`` begins with its own folder; ``PYTHONPATH`` may still hide ours."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, function = project["scripts"]["mixroute"].split(":")
    script = tmp_path / "bin" / "mixroute"
    script.parent.mkdir()
    script.write_text(f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n")
    (tmp_path / "tasks.py").touch()
    command = [sys.executable, str(script), "--version"]
    for path, code, shown in (
        (str(ROOT), 0, f"mixroute {version('mixroute')}\n"),
        (os.pathsep.join([str(tmp_path), str(ROOT)]), 2, f"error: {tmp_path / 'tasks.py'} hides"),
    ):
        env = {**os.environ, "PYTHONPATH": path}
        result = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert result.returncode == code
        assert (result.stdout + result.stderr).startswith(shown)
        assert "Traceback" not in result.stderr
