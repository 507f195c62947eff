"""What happens to a run whose files cannot be written, or vanish, and to one that is interrupted."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import mixroute
from harness.files import made_once
from harness.traces.store import EPISODES, TIMINGS, find_runs
from mixroute import Completion, MixrouteError, Step
from tests.command import ROOT, start, wait_until
from tests.harness.engine.plugged import Low, reread, suite_of


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Files cannot grow beyond ``size`` bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [700, 3000, 4500, 5500])
def test_a_full_disk_names_the_file_and_loses_no_episode(tmp_path: Path, size: int) -> None:
    suite = suite_of(tmp_path, concurrency=1)
    with largest_file(size), pytest.raises((MixrouteError, OSError)) as caught:
        mixroute.run(suite, tmp_path / "runs")
    message = f"{caught.value} {getattr(caught.value, 'filename', '')}"
    assert "File too large" in message
    assert str(tmp_path / "runs") in message
    mixroute.run(suite, tmp_path / "runs")
    assert all(episode.success for episode in reread(tmp_path).values())
    mixroute.run(suite, tmp_path / "whole")
    (one,), (other,) = find_runs(tmp_path / "runs"), find_runs(tmp_path / "whole")
    assert (one / EPISODES).read_bytes() == (other / EPISODES).read_bytes()


@pytest.mark.parametrize("how", ["deleted", "moved", "replaced", "episodes"])
@pytest.mark.parametrize("when", [0, 3], ids=["early", "late"])
def test_a_folder_that_vanishes_is_an_error(tmp_path: Path, how: str, when: int) -> None:
    """At the last step of the last episode nothing is appended afterwards but that episode."""

    class Vanishes(Low):
        async def act(self, step: Step) -> Completion:
            if step.index == 2 and len(steps) == when:
                (run,) = find_runs(tmp_path / "runs")
                if how == "episodes":
                    (run / EPISODES).unlink()
                elif how == "deleted":
                    shutil.rmtree(tmp_path / "runs")
                else:
                    run.rename(tmp_path / "elsewhere")
                    if how == "replaced":
                        shutil.copytree(tmp_path / "elsewhere", run)
            if step.index == 2:
                steps.append(0)
            return await super().act(step)

    steps: list[int] = []
    suite = suite_of(tmp_path, Vanishes, concurrency=1)
    with pytest.raises(MixrouteError, match=f"({EPISODES}|{TIMINGS}) was deleted or replaced while the run was played"):
        mixroute.run(suite, tmp_path / "runs")
    assert len(steps) == when + 1  # and nothing is played any more
    shutil.rmtree(tmp_path / "elsewhere", ignore_errors=True)
    mixroute.run(suite, tmp_path / "runs")
    assert len(reread(tmp_path)) == 4


CONVERSION = """
import sys, time
from pathlib import Path
from harness.files import made_once
def make(path):
    path.mkdir()
    (path / "weights").write_bytes(bytes(1000))
    print("begun", flush=True)
    time.sleep(3600)
made_once("weights", sys.argv[1], make)
"""


def test_scratch_of_killed_conversions_is_removed_and_of_running_ones_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIXROUTE_CACHE", str(tmp_path))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}

    def begin(name: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", CONVERSION, name], env=env, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        return process

    killed, running = begin("a"), begin("b")
    killed.kill()
    killed.communicate()
    assert len(list((tmp_path / "weights").glob("*/made/weights"))) == 2
    made_once("weights", "c", lambda path: path.mkdir())
    left = list((tmp_path / "weights").glob("*/made/weights"))
    assert len(left) == 1
    running.kill()
    running.communicate()
    made_once("weights", "c", lambda path: path.mkdir())
    assert not list((tmp_path / "weights").glob("*/made"))
    assert not list((tmp_path / "weights").glob(".scratch*"))


@pytest.mark.parametrize("module", ["harness.errors", "typer", "harness.engine.watchdog", "torch.nn"])
def test_an_interrupt_while_the_command_starts_is_no_traceback(tmp_path: Path, module: str) -> None:
    command = [
        sys.executable,
        "-X",
        "importtime",
        "-m",
        "mixroute",
        "run",
        "examples/suite.yaml",
        "--out",
        str(tmp_path / "runs"),
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.split("|")[-1].strip() == module:
            process.send_signal(signal.SIGINT)
            break
    rest = process.stderr.read()
    assert process.wait(timeout=60) == 130
    assert "Traceback" not in rest
    assert "interrupted" in rest


SLOW = """
import asyncio
from mixroute import StepRouter
class Slow(StepRouter):
    def choose(self, step): return "low"
    async def act(self, step):
        while step.index:
            try: await asyncio.sleep(3600)
            except BaseException: pass
        return await super().act(step)
"""


def test_an_interrupt_stops_a_router_that_does_not_want_to(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    process = start(
        "run",
        ROOT / "examples/suite.yaml",
        "--router",
        f"{tmp_path}/slow.py:Slow",
        "--out",
        tmp_path / "runs",
        cwd=ROOT,
    )
    wait_until(lambda: list(tmp_path.glob("runs/*/episodes.jsonl")), process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "interrupted: finished episodes are kept" in err
