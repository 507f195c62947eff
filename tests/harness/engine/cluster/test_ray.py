"""Runs on a real Ray cluster on this machine: they equal a local run byte for byte, whatever dies on the way."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import chdir
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.engine.cluster.executor import RayExecutor
from harness.engine.opening import open_instances
from harness.engine.runner import FinishedRun, SuiteRunner
from harness.suite import TaskEntry, load_suite
from harness.traces.store import find_runs, read_episodes, read_meta
from tests.command import PATIENCE, mixroute, start, wait_until
from tests.harness.engine.cluster import nodes
from tests.small_suite import write_suite

pytest.importorskip("ray", reason="Ray is not installed: make ray-env")

RAY = ("run", "suite.yaml", "--no-reuse", "--executor", "ray", "--cpus-per-worker", "1")
GAMES = 40
LONG = {
    "concurrency": 2,
    "routers": ["patient.py:Patient"],
    "tasks": [{"task": "alfworld-gen", "split": "test", "limit": GAMES, "args": {"step_cap": 4}}],
    "router_timeout": PATIENCE,
}
"""A run that lasts long enough to be disturbed."""
ROUTER = """
import asyncio
from pathlib import Path

class Patient:
    granularity = "step"

    async def act(self, step):
        await asyncio.sleep(0.05)
        while not Path("go").exists():
            await asyncio.sleep(0.05)
        return await step.ask("high")
"""
"""Waits in each step, and for a file."""


def traces(root: Path) -> dict[str, bytes]:
    """The traces by run, calibration included."""
    return {path.parent.name: path.read_bytes() for path in root.rglob("episodes.jsonl")}


def played(folder: Path, executor: RayExecutor | None = None, out: str = "local") -> list[FinishedRun]:
    """The runs of ``suite.yaml`` in ``folder``, played in this process."""
    suite = load_suite(str(folder / "suite.yaml"))
    return SuiteRunner(suite, folder / out, Console(quiet=True), reuse=False, executor=executor).run()


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory, tiny_pool: Path) -> Iterator[Path]:
    """A folder with a suite that lasts, and its local run in ``local``; the working folder of this module's tests."""
    folder = tmp_path_factory.mktemp("long")
    write_suite(folder, tiny_pool, **LONG)
    (folder / "patient.py").write_text(ROUTER)
    (folder / "go").touch()
    with chdir(folder):
        played(folder)
        yield folder


def test_a_suite_on_three_nodes_equals_the_local_one(cluster: Any, tmp_path: Path, tiny_pool: Path) -> None:
    """Calibration included; and the address may come from the environment."""
    write_suite(tmp_path, tiny_pool)
    played(tmp_path)
    mixroute(*RAY, "--workers", "3", "--ray-address", cluster.address, "--out", "ray", cwd=tmp_path)
    assert traces(tmp_path / "ray") == traces(tmp_path / "local")
    for run in find_runs(tmp_path / "ray", nested=True):
        told = read_meta(run).provenance
        assert {key: told["executor"][key] for key in ("name", "workers", "cpus")} == {
            "name": "ray",
            "workers": 3,
            "cpus": 1,
        }
        assert told["hardware"]["threads"] == 1
    again = mixroute(*RAY, "--workers", "1", "--out", "ray", cwd=tmp_path, env={"RAY_ADDRESS": cluster.address})
    assert "next: mixroute board ray" in again.stdout


def test_a_worker_and_a_node_are_killed_and_no_episode_is_lost(cluster: Any, long: Path, tmp_path: Path) -> None:
    doomed = nodes.add_node(cluster)
    out = tmp_path / "ray"
    process = start(*RAY, "--workers", "3", "--ray-address", cluster.address, "--out", out, cwd=long)
    wait_until(lambda: nodes.finished(out) >= 5, process)
    nodes.workers()[0].send_signal(signal.SIGKILL)
    wait_until(lambda: nodes.finished(out) >= 15, process)
    cluster.remove_node(doomed, allow_graceful=False)
    printed = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, printed
    assert "died" in printed[1]
    assert traces(out) == traces(long / "local")


def test_the_driver_is_killed_and_the_same_command_goes_on(cluster: Any, long: Path, tmp_path: Path) -> None:
    out = tmp_path / "ray"
    command = (*RAY, "--workers", "2", "--ray-address", cluster.address, "--out", out)
    process = start(*command, cwd=long)
    wait_until(lambda: nodes.finished(out) >= 5, process)
    process.kill()
    process.communicate()
    (run,) = find_runs(out)
    kept = [one.instance for one in read_episodes(run)]
    assert 5 <= len(kept) < GAMES
    before = (run / "episodes.jsonl").read_bytes().splitlines()[: len(kept)]
    mixroute(*command, cwd=long)
    assert set(before) <= set((run / "episodes.jsonl").read_bytes().splitlines())
    assert traces(out) == traces(long / "local")


@pytest.fixture
def meanwhile() -> Iterator[Callable[..., None]]:
    """Does something on a thread as soon as something else has happened."""
    threads = []

    def begin(happened: Callable[[], object], then: Callable[[], object]) -> None:
        def wait() -> None:
            deadline = time.monotonic() + PATIENCE
            while not happened() and time.monotonic() < deadline:
                time.sleep(0.005)
            then()

        threads.append(threading.Thread(target=wait, daemon=True))
        threads[-1].start()

    yield begin
    for thread in threads:
        thread.join(PATIENCE)


def test_a_worker_that_hangs_is_replaced(
    cluster: Any, long: Path, tmp_path: Path, meanwhile: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    meanwhile(lambda: nodes.finished(tmp_path) >= 5, lambda: nodes.workers()[0].send_signal(signal.SIGSTOP))
    played(long, RayExecutor(cluster.address, workers=2, cpus=1, patience=5.0, period=0.2), str(tmp_path))
    assert "has not answered for 5 s" in caplog.text
    assert traces(tmp_path) == traces(long / "local")


def test_a_node_that_joins_plays_too(cluster: Any, long: Path, tmp_path: Path) -> None:
    """Without a number of workers there are as many as there is room for; one of another kind is not used."""
    (long / "go").unlink()
    before = len(cluster.list_all_nodes())
    process = start(*RAY, "--ray-address", cluster.address, "--out", tmp_path, cwd=long)
    wait_until(lambda: list(tmp_path.glob("*/run.json")), process)
    nodes.add_node(cluster)
    other = nodes.add_node(cluster, OMP_NUM_THREADS="3")
    wait_until(lambda: len(nodes.workers()) == before + 2, process)
    wait_until(lambda: len(nodes.workers()) == before + 1, process)  # the other one was sent away
    (long / "go").touch()
    _, printed = process.communicate(timeout=PATIENCE)
    cluster.remove_node(other, allow_graceful=False)
    assert (process.returncode, "joined and is not used: hardware.threads is 1" in printed) == (0, True), printed
    assert traces(tmp_path) == traces(long / "local")


DEADLY = """
import os, signal
from hashlib import sha256

class Deadly:
    granularity = "step"

    def __init__(self, game: str) -> None:
        self.game = game

    async def act(self, step):
        if sha256(step.observation.text.encode()).hexdigest() == self.game:
            os.kill(os.getpid(), signal.SIGKILL)
        return await step.ask("high")
"""
"""Kills its process in one game."""


def test_a_game_that_kills_its_workers_is_an_error_and_the_others_are_played(
    cluster: Any, tmp_path: Path, tiny_pool: Path
) -> None:
    task = {"task": "alfworld-gen", "split": "test", "limit": 6, "args": {"step_cap": 2}}
    opened = open_instances(TaskEntry.model_validate(task))
    game, *others = [one.id for one in opened.instances]
    seen = opened.task.open(opened.instances[0]).reset().text
    router = {"router": "deadly.py:Deadly", "args": {"game": sha256(seen.encode()).hexdigest()}}
    write_suite(tmp_path, tiny_pool, tasks=[task], routers=[router], concurrency=3)
    (tmp_path / "deadly.py").write_text(DEADLY)
    done = mixroute(*RAY, "--workers", "1", "--ray-address", cluster.address, "--out", "ray", cwd=tmp_path)
    (run,) = find_runs(tmp_path / "ray")
    ended = {episode.instance: episode.error for episode in read_episodes(run)}
    assert [name for name in others if ended[name] is None] == others
    assert "lost with 3 workers, one after the other" in str(ended[game])
    assert "1 episodes ended in an error" in done.stderr
