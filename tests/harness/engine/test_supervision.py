"""The engine and its routers: what a router may do, what it is charged for, and when it is stopped."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import mixroute
from harness.engine.watchdog import RouterStopped
from mixroute import Completion, Instance, MixrouteError, Observation, Request, Step, StepRouter
from tests.command import ROOT
from tests.harness.engine.plugged import Low, Scripted, played, reread, suite_of
from tests.harness.playing import Alternate, play
from tests.scripted import Corridor, ScriptedModel, Walk


def test_a_router_that_waits_for_ever_is_stopped() -> None:
    class Sleeper(StepRouter):
        def choose(self, step: Step) -> str:
            return "high"

        async def act(self, step: Step) -> Completion:
            await asyncio.sleep(3600)
            return await super().act(step)

    # A second: a machine under load may stop this whole process for some tenths of one, as a busy router would.
    with pytest.raises(RouterStopped, match="neither returned nor called a model for 1 s"):
        play(Sleeper(), timeout=1.0)


def test_a_router_that_loops_for_ever_is_stopped() -> None:
    class Busy(StepRouter):
        def choose(self, step: Step) -> str:
            while True:
                pass

    with pytest.raises(RouterStopped, match="kept the event loop busy"):
        play(Busy(), timeout=0.2)


def test_routers_of_several_episodes_may_think_one_after_the_other() -> None:
    class Ponders(StepRouter):
        def choose(self, step: Step) -> str:
            return "high"

        async def act(self, step: Step) -> Completion:
            answer = await super().act(step)
            for _ in range(2):
                time.sleep(0.15)
                await asyncio.sleep(0)  # it waits for nothing but the others
            return answer

    seen = play(Ponders(), task=Corridor(length=2, count=8), concurrency=8, timeout=0.8)
    assert all(episode.success for episode in seen.episodes.values())


def test_a_slow_model_is_not_the_routers_fault() -> None:
    slow = ScriptedModel("high", seconds=1.5)
    seen = play(Alternate(), {"high": slow, "low": slow}, Corridor(length=1, count=2), timeout=1.0)
    assert all(episode.success for episode in seen.episodes.values())


def test_a_routers_own_exception_is_recorded() -> None:
    class Broken(StepRouter):
        def choose(self, step: Step) -> str:
            raise KeyError("weights")

    assert play(Broken()).episodes["test/000"].error == "KeyError: 'weights'"


def test_router_time_is_its_own_and_not_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0

    def passes(seconds: float) -> str:
        nonlocal clock
        clock += seconds
        return "high"

    class Thinker(StepRouter):
        def choose(self, step: Step) -> str:
            return passes(2)

    def slow(_: Request) -> str:
        passes(100)
        return " right"

    monkeypatch.setattr(time, "perf_counter", lambda: clock)
    seen = play(Thinker(), {"high": ScriptedModel("high", slow)}, Corridor(length=1, count=1), timeout=1e6)
    assert seen.timings["test/000"].steps[0].router == 2


def test_a_router_that_loops_in_a_task_of_its_own_is_stopped() -> None:
    class Delegates(StepRouter):
        def choose(self, step: Step) -> str:
            while True:
                pass

        async def act(self, step: Step) -> Completion:
            return await asyncio.create_task(super().act(step))

    with pytest.raises(RouterStopped, match="kept the event loop busy"):
        play(Delegates(), timeout=0.2)


def test_router_time_counts_tasks_that_the_router_starts() -> None:
    class Gathers(StepRouter):
        def choose(self, step: Step) -> str:
            return "high"

        async def act(self, step: Step) -> Completion:
            async def think() -> None:
                time.sleep(0.02)

            await asyncio.gather(think(), think())
            return await super().act(step)

    timing = play(Gathers(), task=Corridor(length=1, count=1)).timings["test/000"]
    assert timing.steps[0].router >= 0.04


def test_a_call_in_a_step_that_is_over_stops_the_run() -> None:
    class Hoards(StepRouter):
        earlier: Step | None = None

        def choose(self, step: Step) -> str:
            return "low"

        async def act(self, step: Step) -> Completion:
            earlier, self.earlier = self.earlier, step
            if earlier is not None:
                await earlier.ask("high")
            return await super().act(step)

    with pytest.raises(RouterStopped, match="in a step that is over"):
        play(Hoards(), concurrency=1)


def test_an_unknown_model_stops_the_run_though_the_router_swallows_it() -> None:
    class Swallows(StepRouter):
        def choose(self, step: Step) -> str:
            return "low"

        async def act(self, step: Step) -> Completion:
            try:
                return await step.ask("hihg")
            except Exception:
                return await step.ask("low")

    with pytest.raises(RouterStopped, match="'hihg'"):
        play(Swallows())


def test_a_router_may_fall_back_when_a_model_fails() -> None:
    def broken(request: Request) -> str:
        raise RuntimeError("overloaded")

    class FallsBack(StepRouter):
        def choose(self, step: Step) -> str:
            return "low"

        async def act(self, step: Step) -> Completion:
            try:
                return await step.ask("high")
            except RuntimeError:
                return await step.ask("low")

    episode = play(FallsBack(), {"high": ScriptedModel("high", broken), "low": ScriptedModel("low")}).episodes[
        "test/000"
    ]
    assert (episode.success, episode.error) == (True, None)


def test_a_router_cannot_name_another_model_than_the_one_that_answered() -> None:
    class Forges(StepRouter):
        def choose(self, step: Step) -> str:
            return "high"

        async def act(self, step: Step) -> Completion:
            answer = await step.ask("high")
            return replace(answer, model="low", parts=(answer,))

    assert {step.model for step in play(Forges()).episodes["test/000"].steps} == {"high"}


def test_a_router_sees_the_list_of_actions_that_the_trace_holds() -> None:
    class Anything(tuple[str, ...]):
        """Says of every action that it is in the list, as a shop does of searches."""

        __slots__ = ()

        def __contains__(self, action: object) -> bool:
            return True

    class Open(Walk):
        def reset(self) -> Observation:
            return Observation("start", Anything(("right",)))

    class Shop(Corridor):
        def open(self, instance: Instance) -> Walk:
            return Open(3)

    class Looks(StepRouter):
        def choose(self, step: Step) -> str:
            held = [turn.observation.admissible for turn in step.turns] + [step.observation.admissible]
            return "high" if any("fly" in admissible for admissible in held) else "low"

    for episode in play(Looks(), task=Shop()).episodes.values():
        assert {step.model for step in episode.steps} == {"low"}
        assert (episode.steps[0].admissible, episode.steps[0].valid) == (["right"], True)


def acts(act: Callable[[Step], Any]) -> type[Low]:
    class Acts(Low):
        async def act(self, step: Step) -> Completion:
            answer: Completion = await act(step)
            return answer

    return Acts


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
        mixroute.run(suite_of(tmp_path, acts(act), router_timeout=1.0), tmp_path / "runs")


def test_a_router_may_leave_a_task_behind(tmp_path: Path) -> None:
    async def act(step: Step) -> Completion:
        asyncio.get_running_loop().create_task(swallows_cancellation(step))
        await asyncio.sleep(0)
        return await step.ask("low")

    assert all(episode.success for episode in played(tmp_path, acts(act)).values())


def test_a_router_may_ask_much_at_once(tmp_path: Path) -> None:
    class Slow(Scripted):
        async def generate(self, request: Request) -> Completion:
            time.sleep(0.0005)  # it keeps the loop busy for longer than the limit in all
            return await super().generate(request)

    async def act(step: Step) -> Completion:
        return (await asyncio.gather(*(step.ask("low") for _ in range(1000))))[0]

    suite = suite_of(tmp_path, acts(act), Short, Slow, router_timeout=0.4)
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

    suite = suite_of(tmp_path, acts(act), Corridor, Slow, router_timeout=0.5)
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
from tests.harness.engine.test_supervision import acts
from pathlib import Path
async def act(step):
    if step.index == 1:
        # Another process wakes this one after it was stopped for longer than the limit.
        subprocess.Popen(["sh", "-c", f"sleep 1.5; kill -CONT {os.getpid()}"])
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(0.3)  # the watchdog wakes while the router is at work
    return await step.ask("low")
suite = suite_of(Path(sys.argv[1]), acts(act), router_timeout=1.0, environment_timeout=1.0, concurrency=1)
mixroute.run(suite, Path(sys.argv[1]) / "runs")
"""


def test_a_process_that_was_stopped_goes_on(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", STOPPED, str(tmp_path)], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(episode.success for episode in reread(tmp_path).values())
