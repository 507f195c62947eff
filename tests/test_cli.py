"""From the command line, end to end, on generated ALFWorld games and the tiny model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from harness.pool import load_pool
from harness.traces.store import find_runs, read_episodes, read_meta, read_timings
from tests.command import PATIENCE, ROOT, mixroute, start, wait_until
from tests.small_suite import write_suite


def traces(root: Path) -> dict[str, bytes]:
    """The traces by run, calibration included."""
    return {path.parent.name: path.read_bytes() for path in root.rglob("episodes.jsonl")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_pool: Path) -> Path:
    """A folder with ``suite.yaml`` and its finished runs in ``runs``."""
    folder = tmp_path_factory.mktemp("finished")
    write_suite(folder, tiny_pool)
    mixroute("run", "suite.yaml", "--out", "runs", "--no-reuse", cwd=folder)
    return folder


def test_run_then_board_then_show(finished: Path) -> None:
    board = mixroute("board", "runs", "--out", "board", cwd=finished)
    rows = {row["router"]: row for row in json.loads((finished / "board/board.json").read_text())["rows"]}
    assert set(rows) == {"always-high", "always-low", "stuck", "uncertainty"}
    assert all(router in board.stdout for router in rows)
    high, low, cascade = rows["always-high"], rows["always-low"], rows["uncertainty"]
    assert (high["task"], high["split"], high["pool"]) == ("alfworld-gen", "test", "tiny")
    assert (high["instances"], high["episodes"], high["high_share"]) == (6, 6, 1.0)
    assert high["cost"] == {"weight_bytes": 1.0, "flops": 1.0, "seconds": None}
    assert 0 < low["cost"]["weight_bytes"] < 1
    assert cascade["cost"]["weight_bytes"] > low["cost"]["weight_bytes"]  # low is charged beside high
    for name in ("board.md", "board.csv", "board.tex", "accuracy_cost.png"):
        assert (finished / "board" / name).stat().st_size > 0
    # Shown from whatever depth it lies at; a calibration run, here.
    (probe,) = find_runs(finished / "runs/calibration")
    instance = next(read_episodes(probe)).instance
    shown = mixroute("show", f"{probe.name}/{instance}", "--runs", ".", cwd=finished).stdout
    assert "Your task is to" in shown
    assert "[low]" in shown


def test_the_threshold_was_chosen_on_development_games(finished: Path) -> None:
    (run,) = [m for m in map(read_meta, find_runs(finished / "runs")) if m.router == "uncertainty"]
    (probe,) = find_runs(finished / "runs/calibration")
    steps = [step for episode in read_episodes(probe) for step in episode.steps]
    values = [call.statistics.first(max(1, call.content_tokens)).mean_entropy for step in steps for call in step.calls]
    assert sum(value > run.fitted["threshold"] for value in values) <= 0.5 * len(values)
    assert run.fitted["threshold"] in values
    assert not set(run.instances) & set(read_meta(probe).instances)


def test_the_same_bytes_whatever_the_concurrency(finished: Path, tmp_path: Path) -> None:
    args = ("--out", tmp_path / "again", "--concurrency", "1", "--no-reuse")  # the suite has 4
    mixroute("run", "suite.yaml", *args, cwd=finished)
    assert traces(tmp_path / "again") == traces(finished / "runs")


def test_kept_answers_give_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    """The first time what several routers ask is computed once; the second time nothing is computed."""
    shares = []
    for name in ("first", "second"):
        mixroute("run", "suite.yaml", "--out", tmp_path / name, cwd=finished, env={"MIXROUTE_CACHE": str(tmp_path)})
        assert traces(tmp_path / name) == traces(finished / "runs")
        runs = find_runs(tmp_path / name, nested=True)
        calls = [call for run in runs for timing in read_timings(run) for step in timing.steps for call in step.calls]
        assert all(call.prefill + call.decode > 0 for call in calls)
        shares.append(sum(call.reused for call in calls) / len(calls))
    assert 0.2 < shares[0] < 1
    assert shares[1] == 1


def test_a_finished_run_plays_nothing_again(finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (finished / "runs").rglob("run.json")}
    content = traces(finished / "runs")
    mixroute("run", "suite.yaml", "--out", "runs", cwd=finished)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert traces(finished / "runs") == content


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_goes_on_where_it_was(
    finished: Path, tmp_path: Path, tiny_pool: Path, how: signal.Signals
) -> None:
    write_suite(tmp_path, tiny_pool, concurrency=1)
    process = start("run", "suite.yaml", "--out", "runs", "--no-reuse", cwd=tmp_path)

    def kept() -> int:
        return sum(content.count(b"\n") for content in traces(tmp_path / "runs").values())

    wait_until(lambda: kept() >= 3, process)
    process.send_signal(how)
    _, err = process.communicate(timeout=PATIENCE)
    assert kept() >= 3
    if how is signal.SIGINT:
        assert process.returncode == 130
        assert err.strip().endswith("interrupted: finished episodes are kept; the same command goes on from here")
    mixroute("run", "suite.yaml", "--out", "runs", "--no-reuse", cwd=tmp_path)
    assert traces(tmp_path / "runs") == traces(finished / "runs")


def test_a_router_of_one_task_plays_that_one(tmp_path: Path, tiny_pool: Path) -> None:
    tasks = [
        {"task": "alfworld-gen", "split": "test", "limit": 1, "args": {"step_cap": 2}},
        {"task": "webshop-gen", "split": "test", "limit": 1, "args": {"step_cap": 2}},
    ]
    routers = [
        {"router": "always-low"},
        {"router": "first-k", "label": "mine", "args": {"k": 1}, "tasks": ["alfworld-gen"]},
        {"router": "first-k", "label": "mine", "args": {"k": 2}, "tasks": ["webshop-gen"]},
    ]
    write_suite(tmp_path, tiny_pool, tasks=tasks, routers=routers)
    mixroute("run", "suite.yaml", "--out", "runs", cwd=tmp_path)
    played = [(one.task, one.label, one.config["router_args"]) for one in map(read_meta, find_runs(tmp_path / "runs"))]
    assert sorted(played, key=str) == [
        ("alfworld-gen", "always-low", {}),
        ("alfworld-gen", "mine", {"k": 1}),
        ("webshop-gen", "always-low", {}),
        ("webshop-gen", "mine", {"k": 2}),
    ]

    mixroute("run", "suite.yaml", "--out", "part", "--only", "webshop-gen", "--only", "mine", cwd=tmp_path)
    (part,) = find_runs(tmp_path / "part")
    assert part.name in {run.name for run in find_runs(tmp_path / "runs")}
    assert (read_meta(part).task, read_meta(part).label) == ("webshop-gen", "mine")
    wrong = mixroute("run", "suite.yaml", "--only", "webshop-gen", "--only", "main", cwd=tmp_path, code=2).stderr
    assert "--only 'main': suite 'small' has no task and no router of this name" in wrong


def test_a_second_process_on_the_same_folder_is_refused(tmp_path: Path, tiny_pool: Path) -> None:
    write_suite(tmp_path, tiny_pool)
    first = start("run", "suite.yaml", "--out", "runs", cwd=tmp_path)
    wait_until(lambda: list((tmp_path / "runs").glob("*/run.json")), first)  # it surely holds the lock then
    os.kill(first.pid, signal.SIGSTOP)
    try:
        second = mixroute("run", "suite.yaml", "--out", "runs", cwd=tmp_path, code=2)
    finally:
        os.kill(first.pid, signal.SIGCONT)
    assert second.stderr.endswith("error: runs is in use by another mixroute process: wait, or use another --out\n")
    first.communicate(timeout=PATIENCE)
    assert first.returncode == 0


def test_an_edited_router_does_not_finish_what_another_began(tmp_path: Path, tiny_pool: Path) -> None:
    write_suite(tmp_path, tiny_pool)
    router = tmp_path / "mine.py"
    source = "from mixroute import StepRouter\nclass Mine(StepRouter):\n    def choose(self, step): return 'low'\n"
    router.write_text(source)
    command = ("run", "suite.yaml", "--out", "runs", "--router", "mine.py:Mine", "--limit", "2")
    mixroute(*command, cwd=tmp_path)
    (run,) = find_runs(tmp_path / "runs")
    trace = run / "episodes.jsonl"
    trace.write_bytes(trace.read_bytes().splitlines(keepends=True)[0])
    router.write_text(source.replace("low", "high"))
    mixroute(*command, cwd=tmp_path)
    assert len(list(read_episodes(run))) == 1
    (other,) = set(find_runs(tmp_path / "runs")) - {run}
    assert {step.model for e in read_episodes(other) for step in e.steps} == {"high"}


def test_a_router_in_a_file_is_run(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from mixroute import StepRouter\n"
        "class Mine(StepRouter):\n"
        "    def __init__(self, k=1):\n"
        "        self.k = k\n"
        "    def choose(self, step):\n"
        "        return 'high' if step.index == self.k else 'low'\n"
    )
    suite = finished / "suite.yaml"
    mixroute("run", suite, "--out", "runs", "--router", "mine.py:Mine,k=2", "--limit", "2", cwd=tmp_path)
    (run,) = find_runs(tmp_path / "runs")
    assert [[step.model for step in e.steps] for e in read_episodes(run)] == [["low", "low", "high"]] * 2


def test_a_suite_is_played_with_another_pool(tmp_path: Path, tiny_pool: Path) -> None:
    write_suite(tmp_path, tmp_path / "not-there.yaml", routers=["always-low"])
    mixroute("run", "suite.yaml", "--out", "runs", "--pool", tiny_pool, "--limit", "1", cwd=tmp_path)
    (run,) = find_runs(tmp_path / "runs")
    assert read_meta(run).pool == load_pool(str(tiny_pool)).name


def test_an_entry_gives_the_same_board_as_its_run(finished: Path) -> None:
    mixroute("pack", "runs", "--out", "entries", cwd=finished)
    mixroute("board", "runs", "--out", "from-runs", cwd=finished)
    mixroute("board", "entries", "--out", "from-entries", cwd=finished)
    assert (finished / "from-entries/board.md").read_text() == (finished / "from-runs/board.md").read_text()


def test_the_version_is_printed(tmp_path: Path) -> None:
    assert mixroute("--version", cwd=tmp_path).stdout == f"mixroute {version('mixroute')}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["list"]], ids=" ".join)
def test_help_and_list_load_no_model_library(tmp_path: Path, arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from mixroute.__main__ import main\n"
        f"sys.argv = ['mixroute', *{arguments}]\n"
        "try: main()\n"
        "finally: print([n for n in ('torch', 'transformers', 'sklearn', 'matplotlib') if n in sys.modules])\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "[]"


def test_list_says_what_each_plugin_is(tmp_path: Path) -> None:
    lines = mixroute("list", cwd=tmp_path).stdout.splitlines()
    for name, about in (
        ("always-high", "High precision at every step"),
        ("dmr", "Dynamic Mixed-Precision Routing"),
        ("alfworld", "The official ALFWorld games."),
        ("transformers", "One model, batched across episodes"),
        ("smollm2", load_pool("smollm2").description[:40]),
    ):
        assert [line for line in lines if line.split()[:1] == [name] and about in line], name


SMOLLM2 = {"smollm2", "smollm2-packed", "smollm2-packed-two-caches", "smollm2-think"}


@pytest.mark.parametrize(
    ("words", "some"),
    [
        ("mixroute run def", {"default"}),
        ("mixroute run ./own", {"./own.yaml"}),
        ("mixroute run default --router always", {"always", "always-high", "always-low"}),
        ("mixroute run default --pool smol", SMOLLM2),
        ("mixroute data alf", {"alfworld", "alfworld-gen"}),
        ("mixroute calibrate smol", SMOLLM2),
    ],
)
def test_the_shell_completes_names(tmp_path: Path, words: str, some: set[str]) -> None:
    (tmp_path / "own.yaml").touch()
    env = {"_MIXROUTE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    assert set(mixroute(cwd=tmp_path, env=env).stdout.split()) == some
