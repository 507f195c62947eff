"""Time limits: what is stopped, and what is not."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import mixroute
from mixroute import Completion, Instance, MixrouteError, Observation, Request, Step
from tests.command import ROOT
from tests.harness.engine.plugged import Low, Scripted, played, reread, router_of, suite_of
from tests.scripted import Corridor, Walk


class Short(Corridor):
    def __init__(self, split: str = "test") -> None:
        super().__init__(split, length=1, count=2)


async def polls(step: Step) -> Completion:
    while True:
        await asyncio.sleep(0.02)


async def swallows_cancellation(step: Step) -> Completion:
    while True:
        with suppress(BaseException):
            await asyncio.sleep(3600)


async def waits_on_a_thread(step: Step) -> Completion:
    await asyncio.to_thread(time.sleep, 3600)
    return await step.ask("low")


async def leaves_one_that_polls(step: Step) -> Completion:
    asyncio.get_running_loop().create_task(swallows_cancellation(step))
    await asyncio.Event().wait()
    return await step.ask("low")


async def works_in_pieces(step: Step) -> Completion:
    while True:
        time.sleep(0.02)
        await asyncio.sleep(0)


async def refuses_to_stop(step: Step) -> Completion:
    while True:
        try:
            while True:
                pass
        except BaseException:
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    "act",
    [polls, swallows_cancellation, waits_on_a_thread, leaves_one_that_polls, works_in_pieces, refuses_to_stop],
)
def test_a_router_that_never_asks_is_stopped(tmp_path: Path, act: Callable[[Step], Any]) -> None:
    with pytest.raises(MixrouteError, match="the router .* for 1 s: fix it, or raise router_timeout"):
        mixroute.run(suite_of(tmp_path, router_of(act), router_timeout=1.0), tmp_path / "runs")


def test_a_run_that_is_stopped_leaves_no_pending_exception(tmp_path: Path) -> None:
    """Under a trace function, as of coverage or a debugger, threads of CPython 3.11 would spin at a call for ever."""
    program = """
import sys, threading
threading.settrace(lambda *_: None)
sys.settrace(lambda *_: None)
import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "tests/harness/engine/test_watchdog.py", "-k", sys.argv[1]]))
"""
    command = [sys.executable, "-c", program, "never_asks and (works_in_pieces or refuses_to_stop)"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stdout


def test_a_router_may_leave_a_task_behind(tmp_path: Path) -> None:
    async def act(step: Step) -> Completion:
        asyncio.get_running_loop().create_task(swallows_cancellation(step))
        await asyncio.sleep(0)
        return await step.ask("low")

    assert all(episode.success for episode in played(tmp_path, router_of(act)).values())


def test_a_router_may_ask_much_at_once(tmp_path: Path) -> None:
    class Slow(Scripted):
        async def generate(self, request: Request) -> Completion:
            time.sleep(0.0005)  # it keeps the loop busy for longer than the limit in all
            return await super().generate(request)

    async def act(step: Step) -> Completion:
        return (await asyncio.gather(*(step.ask("low") for _ in range(1000))))[0]

    suite = suite_of(tmp_path, router_of(act), Short, Slow, router_timeout=0.4)
    mixroute.run(suite, tmp_path / "runs")
    assert all(episode.success for episode in reread(tmp_path).values())


@pytest.mark.parametrize("wait", [time.sleep, asyncio.sleep], ids=["blocking", "async"])
def test_a_model_may_take_longer_than_a_router(tmp_path: Path, wait: Callable[[float], Any]) -> None:
    class Slow(Scripted):
        async def generate(self, request: Request) -> Completion:
            waited = wait(1.5)
            if waited is not None:
                await waited
            return await super().generate(request)

    suite = suite_of(tmp_path, Low, Short, Slow, router_timeout=0.1)
    mixroute.run(suite, tmp_path / "runs")
    assert all(episode.success for episode in reread(tmp_path).values())


def test_a_router_may_wait_for_its_turn_while_a_model_answers_another_episode(tmp_path: Path) -> None:
    class Slow(Scripted):
        async def generate(self, request: Request) -> Completion:
            await asyncio.sleep(0.3)
            return await super().generate(request)

    turn = asyncio.Lock()

    async def act(step: Step) -> Completion:
        async with turn:
            return await step.ask("low")

    suite = suite_of(tmp_path, router_of(act), Corridor, Slow, router_timeout=0.5)
    mixroute.run(suite, tmp_path / "runs")
    assert all(episode.success for episode in reread(tmp_path).values())


@pytest.mark.parametrize("wait", [asyncio.sleep, "busy"], ids=["async", "busy"])
def test_a_model_that_never_answers_is_named(tmp_path: Path, wait: Any) -> None:
    class Hangs(Scripted):
        async def generate(self, request: Request) -> Completion:
            while wait == "busy":
                pass
            await wait(3600)
            return await super().generate(request)

    suite = suite_of(tmp_path, Low, Corridor, Hangs, environment_timeout=0.5)
    with pytest.raises(MixrouteError, match="model 'low' .* for 0.5 s: .* environment_timeout in the suite"):
        mixroute.run(suite, tmp_path / "runs")


@pytest.mark.parametrize("blocking", [False, True], ids=["inline", "thread"])
def test_an_environment_that_hangs_ends_its_episode(tmp_path: Path, blocking: bool) -> None:
    class Hangs(Walk):
        def step(self, action: str) -> tuple[Observation, float, bool]:
            until = time.monotonic() + 30
            while time.monotonic() < until:
                time.sleep(0.001)
            return super().step(action)

    class Place(Corridor):
        def open(self, instance: Instance) -> Walk:
            return Hangs(3) if instance.id.endswith("1") else Walk(3)

    Place.blocking = blocking
    suite = suite_of(tmp_path, Low, Place, environment_timeout=0.5)
    mixroute.run(suite, tmp_path / "runs")
    episodes = reread(tmp_path)
    assert [episode.success for episode in episodes.values()] == [True, False, True, True]
    assert "'step'" in str(episodes["test/001"].error)
    assert "for 0.5 s: fix it, or raise environment_timeout" in str(episodes["test/001"].error)


STOPPED = """
import os, signal, subprocess, sys, time, mixroute
from tests.harness.engine.plugged import *
from pathlib import Path
async def act(step):
    if step.index == 1:
        # Another process wakes this one after it was stopped for longer than the limit.
        subprocess.Popen(["sh", "-c", f"sleep 1.5; kill -CONT {os.getpid()}"])
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(0.3)  # the watchdog wakes while the router is at work
    return await step.ask("low")
suite = suite_of(Path(sys.argv[1]), router_of(act), router_timeout=1.0, environment_timeout=1.0, concurrency=1)
mixroute.run(suite, Path(sys.argv[1]) / "runs")
"""


def test_a_process_that_was_stopped_goes_on(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", STOPPED, str(tmp_path)], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(episode.success for episode in reread(tmp_path).values())
