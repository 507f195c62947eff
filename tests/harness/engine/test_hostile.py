"""Plug-ins that end what is not theirs: that is their episode's error."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mixroute
from harness.traces.store import find_runs, read_meta
from mixroute import (
    Completion,
    Instance,
    MixrouteError,
    Observation,
    Prompt,
    Step,
)
from tests.harness.engine.plugged import (
    Low,
    Scripted,
    backend_of,
    check_all_failed,
    environment_of,
    played,
    reread,
    router_of,
    suite_of,
)
from tests.scripted import Corridor, Walk

ENDS: list[BaseException] = [
    asyncio.CancelledError("no more"),
    SystemExit(0),
    KeyboardInterrupt("me"),
    GeneratorExit("out"),
    BaseException("base"),
    StopIteration("next"),
]
names = pytest.mark.parametrize("end", ENDS, ids=lambda end: type(end).__name__)


def raiser(end: BaseException) -> Callable[..., Any]:
    def fails(*arguments: Any, **named: Any) -> Any:
        raise end

    return fails


async def cancels_itself(step: Step) -> Completion:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)
    return await step.ask("low")


@names
def test_a_router_that_raises_it(tmp_path: Path, end: BaseException) -> None:
    async def act(step: Step) -> Completion:
        raise end

    # Python turns a StopIteration that leaves a coroutine into this.
    cause = "coroutine raised StopIteration" if isinstance(end, StopIteration) else type(end).__name__
    check_all_failed(tmp_path, cause, router_of(act))


@pytest.mark.parametrize("end", ENDS[1:3] + ENDS[4:5], ids=lambda end: type(end).__name__)
def test_a_router_whose_task_raises_it(tmp_path: Path, end: BaseException) -> None:
    async def act(step: Step) -> Completion:
        async def background() -> None:
            raise end

        asyncio.get_running_loop().create_task(background())
        await asyncio.sleep(0)
        return await step.ask("low")

    check_all_failed(tmp_path, type(end).__name__, router_of(act))


def test_a_router_that_cancels_itself(tmp_path: Path) -> None:
    check_all_failed(tmp_path, "CancelledError", router_of(cancels_itself))


def test_a_router_that_cancels_everything(tmp_path: Path) -> None:
    async def act(step: Step) -> Completion:
        for task in asyncio.all_tasks():
            task.cancel()
        return await step.ask("low")

    with pytest.raises(MixrouteError, match="a plug-in ended the run: CancelledError"):
        mixroute.run(suite_of(tmp_path, router_of(act)), tmp_path / "runs")


@pytest.mark.parametrize("what", ["callback", "stop"])
def test_a_router_that_ends_the_loop(tmp_path: Path, what: str) -> None:
    async def act(step: Step) -> Completion:
        loop = asyncio.get_running_loop()
        loop.call_soon(sys.exit, 0) if what == "callback" else loop.stop()
        await asyncio.sleep(0.01)
        return await step.ask("low")

    with pytest.raises(MixrouteError, match="a plug-in"):
        mixroute.run(suite_of(tmp_path, router_of(act)), tmp_path / "runs")


@names
@pytest.mark.parametrize("blocking", [False, True], ids=["inline", "thread"])
@pytest.mark.parametrize("method", ["reset", "step", "close"])
def test_an_environment_that_raises_it(tmp_path: Path, end: BaseException, blocking: bool, method: str) -> None:
    if method == "close" and not blocking:
        return  # it is closed before anything is played
    check_all_failed(tmp_path, type(end).__name__, Low, environment_of(method, raiser(end), blocking=blocking))


@names
@pytest.mark.parametrize("method", ["prompt", "parse_action", "is_success"])
def test_a_task_that_raises_it(tmp_path: Path, end: BaseException, method: str) -> None:
    task = type("Raises", (Corridor,), {method: raiser(end)})
    check_all_failed(tmp_path, type(end).__name__, Low, task)


def test_an_environment_that_cancels_its_episode(tmp_path: Path) -> None:
    def step(self: Walk, action: str) -> tuple[Observation, float, bool]:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return Observation("ok"), 0.0, False

    check_all_failed(tmp_path, "CancelledError", Low, environment_of("step", step))


@names
def test_a_model_that_raises_it(tmp_path: Path, end: BaseException) -> None:
    cause = "coroutine raised StopIteration" if isinstance(end, StopIteration) else type(end).__name__
    check_all_failed(tmp_path, cause, Low, Corridor, backend_of(raiser(end)))
    assert sum(len(episode.steps) for episode in reread(tmp_path).values()) == 4


@names
def test_a_model_that_raises_it_when_an_episode_is_over(tmp_path: Path, end: BaseException) -> None:
    backend = type("Raises", (Scripted,), {"release": raiser(end)})
    check_all_failed(tmp_path, type(end).__name__, Low, Corridor, backend)


@names
@pytest.mark.parametrize("place", ["router", "task", "backend"])
def test_a_constructor_that_raises_it(tmp_path: Path, end: BaseException, place: str) -> None:
    classes: dict[str, type[Any]] = {"router": Low, "task": Corridor, "backend": Scripted}
    classes[place] = type("Raises", (classes[place],), {"__init__": raiser(end)})
    with pytest.raises(MixrouteError, match=f"{place} 'test-plugged-.*{end}"):
        mixroute.run(suite_of(tmp_path, *classes.values()), tmp_path / "runs")


@names
def test_an_import_that_raises_it(tmp_path: Path, end: BaseException) -> None:
    (tmp_path / "bad.py").write_text(f"import asyncio\nraise {type(end).__name__.replace('Canc', 'asyncio.Canc')}()")
    with pytest.raises(MixrouteError, match=f"bad.py fails on import: {type(end).__name__}"):
        mixroute.open_router(f"{tmp_path}/bad.py:Mine")


@pytest.mark.parametrize("end", [SystemExit(0), ValueError("lost")], ids=lambda end: type(end).__name__)
@pytest.mark.parametrize(
    ("place", "method"),
    [
        ("task", "instances"),
        ("task", "open"),
        ("task", "protocol"),
        ("backend", "card"),
        ("router", "fit"),
        ("router", "trained_on"),
        ("router", "trained_with"),
        ("router", "content_files"),
        ("backend", "prompt_notes"),
    ],
)
def test_a_method_that_fails_before_play_is_named(tmp_path: Path, end: BaseException, place: str, method: str) -> None:
    classes: dict[str, type[Any]] = {"router": Low, "task": Corridor, "backend": Scripted}
    classes[place] = type("Fails", (classes[place],), {method: raiser(end), "probe": "always-low"})
    with pytest.raises(
        MixrouteError, match=f"(task|router|model) '.*' fails in '{method}': {type(end).__name__}: {end}"
    ):
        mixroute.run(suite_of(tmp_path, *classes.values()), tmp_path / "runs")


class Telling(Scripted):
    """A model with something to tell about prompts."""

    def prompt_notes(self, prompt: Prompt) -> dict[str, str]:
        return {"system": "folded"}


@pytest.mark.parametrize("method", ["reset", "prompt", "close"])
def test_a_task_that_fails_when_its_prompt_is_described_is_named(tmp_path: Path, method: str) -> None:
    closed: list[bool] = []
    replaced: dict[str, Any] = {"close": lambda self: closed.append(True)}
    failing = raiser(SystemExit(0))
    environment = type("Failing", (Walk,), replaced | ({} if method == "prompt" else {method: failing}))
    changes = {"open": lambda self, instance: environment(3), "blocking": True}
    task = type("Fails", (Corridor,), changes | ({"prompt": failing} if method == "prompt" else {}))
    with pytest.raises(MixrouteError, match=f"^task '.*' fails in '{method}': SystemExit: 0$"):
        mixroute.run(suite_of(tmp_path, Low, task, Telling), tmp_path / "runs")
    assert closed == ([] if method == "close" else [True])


def test_prompts_of_a_task_are_described_once(tmp_path: Path) -> None:
    begun: list[str] = []

    class Counts(Corridor):
        def open(self, instance: Instance) -> Walk:
            begun.append(instance.id)
            return super().open(instance)

    mixroute.run(suite_of(tmp_path, Low, Counts, Telling, seeds=[0, 1]), tmp_path / "runs")
    runs = find_runs(tmp_path / "runs")
    assert [read_meta(run).protocol["chat_template"]["low"] for run in runs] == [{"system": "folded"}] * 2
    assert begun.count("test/000") == 1 + 1 + 2  # checked, described, played


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_an_id_that_cannot_be_read_again_is_refused_before_play(tmp_path: Path, name: str) -> None:
    task = type("Named", (Corridor,), {"instances": lambda self: [Instance(name)]})
    with pytest.raises(MixrouteError, match="task '.*' fails in 'instances': "):
        mixroute.run(suite_of(tmp_path, Low, task), tmp_path / "runs")
    assert not list((tmp_path / "runs").glob("*/run.json"))


def test_a_model_that_cannot_be_closed_loses_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    backend = type("Fails", (Scripted,), {"close": raiser(SystemExit(0))})
    episodes = played(tmp_path, Low, Corridor, backend)
    assert all(episode.success for episode in episodes.values())
    assert "model 'low' fails in 'close': SystemExit: 0" in caplog.text
