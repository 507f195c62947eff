"""The engine and its routers: what a router may do, what it is charged for, and when it is stopped."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from harness.engine.watchdog import RouterStopped
from mixroute import Completion, Instance, Observation, Request, Step, StepRouter
from tests.harness.playing import Alternate, message, play
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

    assert message(play(Broken()).episodes["test/000"]) == "KeyError: 'weights'"


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


def test_what_a_router_left_running_may_ask_no_more_after_its_answer() -> None:
    class LeavesAsking(StepRouter):
        def choose(self, step: Step) -> str:
            return "low"

        async def act(self, step: Step) -> Completion:
            async def asks_on() -> None:
                while True:
                    await step.ask("high")

            self.left = asyncio.ensure_future(asks_on())
            return await super().act(step)

    models = {"high": ScriptedModel("high", seconds=0.02), "low": ScriptedModel("low")}
    episode = play(LeavesAsking(), models, concurrency=1).episodes["test/000"]
    assert (episode.success, episode.error) == (True, None)
    assert all({call.model for call in step.calls} == {"high", "low"} for step in episode.steps)


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
