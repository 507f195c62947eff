"""Plug-ins that end what is not theirs, or give what cannot be recorded: that is their episode's error."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mixroute
from mixroute import (
    Completion,
    Instance,
    MixrouteError,
    ModelCard,
    Observation,
    Prompt,
    Request,
    Step,
    Timing,
    Token,
)
from tests.harness.engine.plugged import Low, Scripted, played, reread, suite_of
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


def router_of(act: Callable[[Step], Any]) -> type[Low]:
    class Acts(Low):
        async def act(self, step: Step) -> Completion:
            answer: Completion = await act(step)
            return answer

    return Acts


def environment_of(method: str, replaced: Any, *, blocking: bool = False) -> type[Corridor]:
    class Changed(Walk):
        pass

    setattr(Changed, method, replaced)

    class Place(Corridor):
        def open(self, instance: Instance) -> Walk:
            return Changed(3)

    Place.blocking = blocking
    return Place


def backend_of(generate: Callable[[Scripted, Request, Completion], Any]) -> type[Scripted]:
    class Changed(Scripted):
        async def generate(self, request: Request) -> Completion:
            answer: Completion = generate(self, request, await super().generate(request))
            return answer

    return Changed


def check_all_failed(folder: Path, cause: str, *classes: type[Any]) -> None:
    episodes = played(folder, *classes)
    assert len(episodes) == 4
    for episode in episodes.values():
        assert episode.end == "error"
        assert cause in str(episode.error)


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
        ("router", "content_files"),
    ],
)
def test_a_method_that_fails_before_play_is_named(tmp_path: Path, end: BaseException, place: str, method: str) -> None:
    classes: dict[str, type[Any]] = {"router": Low, "task": Corridor, "backend": Scripted}
    classes[place] = type("Fails", (classes[place],), {method: raiser(end), "probe": "always-low"})
    with pytest.raises(
        MixrouteError, match=f"(task|router|model) '.*' fails in '{method}': {type(end).__name__}: {end}"
    ):
        mixroute.run(suite_of(tmp_path, *classes.values()), tmp_path / "runs")


def test_a_model_that_cannot_be_closed_loses_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    backend = type("Fails", (Scripted,), {"close": raiser(SystemExit(0))})
    episodes = played(tmp_path, Low, Corridor, backend)
    assert all(episode.success for episode in episodes.values())
    assert "model 'low' fails in 'close': SystemExit: 0" in caplog.text


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"text": None}, "$.text"),
        ({"text": "\ud800"}, "surrogates"),
        ({"prompt_tokens": 1.5}, "$.prompt_tokens"),
        ({"prompt_tokens": -1}, "$.prompt_tokens"),
        ({"cached_tokens": "4"}, "$.cached_tokens"),
        ({"finish": None}, "$.finish"),
        ({"model": 3}, "$.model"),
        ({"content_tokens": 99}, "more make the text"),
        ({"tokens": (Token(1, float("-inf"), 1.0, 0.5),), "content_tokens": 1}, "$.logprobs"),
        ({"tokens": (Token(1, -1.0, float("nan"), 0.5),), "content_tokens": 1}, "$.entropies"),
        ({"tokens": None}, "low"),
        ({"timing": Timing(queue=float("inf"))}, "$.calls"),
    ],
    ids=str,
)
def test_a_wrong_answer_is_its_episodes_error(tmp_path: Path, changes: dict[str, Any], cause: str) -> None:
    backend = backend_of(lambda self, request, answer: replace(answer, **changes))
    check_all_failed(tmp_path, cause, Low, Corridor, backend)


def test_a_router_may_ask_another_model_after_a_wrong_answer(tmp_path: Path) -> None:
    odd: Any = None

    def answer(self: Scripted, request: Request, given: Completion) -> Completion:
        return replace(given, text=odd) if given.model == "low" else given

    async def act(step: Step) -> Completion:
        try:
            return await step.ask("low")
        except mixroute.EpisodeError:
            return await step.ask("high")

    episodes = played(tmp_path, router_of(act), Corridor, backend_of(answer))
    assert all(episode.success for episode in episodes.values())


class Instances(Corridor):
    kind: Any = None

    def instances(self) -> Sequence[Instance]:
        return [replace(one, kind=self.kind if one.id.endswith("1") else "odd") for one in super().instances()]


@pytest.mark.parametrize("kind", [None, 3, "\udc80"], ids=ascii)
def test_a_kind_that_cannot_be_recorded_is_its_episodes_error(tmp_path: Path, kind: Any) -> None:
    episodes = played(tmp_path, Low, type("Kinds", (Instances,), {"kind": kind}))
    assert [episode.success for episode in episodes.values()] == [True, False, True, True]
    assert "it cannot be recorded" in str(episodes["test/001"].error)
    assert len(episodes["test/001"].steps) == 3


@pytest.mark.parametrize("success", [None, 1, "yes", 1.0], ids=repr)
def test_a_success_that_is_no_bool_is_its_episodes_error(tmp_path: Path, success: Any) -> None:
    task = type("Odd", (Corridor,), {"is_success": lambda self, score: success})
    check_all_failed(tmp_path, "$.success", Low, task)


@pytest.mark.parametrize("reward", [float("nan"), float("inf"), 1e300, 4e14, None, "1"], ids=repr)
def test_a_reward_that_cannot_be_recorded_is_its_episodes_error(tmp_path: Path, reward: Any) -> None:
    task = environment_of("step", lambda self, action: (Observation("on"), reward, False))
    check_all_failed(tmp_path, "", Low, task)


def test_scalars_of_numpy_are_recorded_as_plain_numbers(tmp_path: Path) -> None:
    ten: Any = np.int64(10)
    half: Any = np.float32(0.5)

    class Task(Corridor):
        def is_success(self, score: float) -> Any:
            return np.bool_(score >= 1)

        def protocol(self) -> Mapping[str, Any]:
            return {"length": np.int64(3), "share": half}

    class Model(Scripted):
        async def generate(self, request: Request) -> Completion:
            answer = await super().generate(request)
            return replace(answer, prompt_tokens=ten, text=np.str_(answer.text))

        def card(self) -> ModelCard:
            return replace(super().card(), parameters=ten)

    class Logs(Low):
        def choose(self, step: Step) -> str:
            step.log(p=half)
            return "low"

    episodes = played(tmp_path, Logs, Task, Model)
    assert all(episode.success is True for episode in episodes.values())
    assert episodes["test/000"].steps[0].calls[0].prompt_tokens == 10


@pytest.mark.parametrize(
    "log",
    [
        lambda step: step.log(**{"\ud800": 1.0}),
        lambda step: step.log(p=float("nan")),
        lambda step: step.scores.update({"\ud800": 1.0}),
        lambda step: step.scores.update(p=float("inf")),
        lambda step: step.scores.update(p=None),
    ],
)
def test_scores_that_cannot_be_recorded_are_their_episodes_error(tmp_path: Path, log: Callable[[Any], None]) -> None:
    async def act(step: Step) -> Completion:
        log(step)
        return await step.ask("low")

    check_all_failed(tmp_path, "", router_of(act))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {1, 2}, object()], ids=ascii)
def test_a_protocol_that_cannot_be_recorded_is_named_before_anything_is_played(tmp_path: Path, value: Any) -> None:
    task = type("Odd", (Corridor,), {"protocol": lambda self: {"length": value}})
    with pytest.raises(MixrouteError, match="task '.*' fails in 'protocol'"):
        mixroute.run(suite_of(tmp_path, Low, task), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_router_cannot_change_what_a_model_wrote(tmp_path: Path) -> None:
    async def act(step: Step) -> Completion:
        answer = await step.ask("low")
        object.__setattr__(answer, "text", " right")
        return answer

    backend = backend_of(lambda self, request, answer: replace(answer, text=" left!"))
    episodes = played(tmp_path, router_of(act), Corridor, backend)
    for episode in episodes.values():
        assert "text that no model of this step wrote" in str(episode.error)
        assert [call.text for call in episode.steps[0].calls] == [" left!"]


def test_a_router_cannot_change_what_is_recorded_of_a_call(tmp_path: Path) -> None:
    async def act(step: Step) -> Completion:
        spare = await step.ask("high")
        for name, value in (("prompt_tokens", 0), ("cached_tokens", 0), ("tokens", ()), ("model", "low")):
            object.__setattr__(spare, name, value)
        answer = await step.ask("low")
        object.__setattr__(answer.tokens[0], "logprob", -9.0)
        object.__setattr__(answer.timing, "decode", 1e9)
        return await step.ask("low")

    for episode in played(tmp_path, router_of(act)).values():
        for step in episode.steps:
            assert [call.model for call in step.calls] == ["high", "low", "low"]
            assert {call.prompt_tokens for call in step.calls} == {10}
            assert {tuple(call.logprobs) for call in step.calls} == {(-0.5,) * 7}


def test_a_router_cannot_change_what_models_read(tmp_path: Path) -> None:
    read: list[Prompt] = []

    async def act(step: Step) -> Completion:
        object.__setattr__(step.prompt.messages[0], "content", "win")
        object.__setattr__(step.prompt, "messages", ())
        object.__setattr__(step.observation, "text", "won")
        for turn in step.turns:
            object.__setattr__(turn.observation, "text", "won")
            object.__setattr__(turn, "text", " right")
        return await step.ask("low")

    def keep(self: Scripted, request: Request, answer: Completion) -> Completion:
        read.append(request.prompt)
        return answer

    episodes = played(tmp_path, router_of(act), Corridor, backend_of(keep))
    assert [step.observation for step in episodes["test/000"].steps] == [f"You are at {i}." for i in range(3)]
    assert {prompt.messages[0].content for prompt in read} == {"You are at 0.\n>"}
    assert {len(prompt.messages) for prompt in read} == {1, 3, 5}


def test_an_environment_that_changes_its_list_does_not_change_the_record(tmp_path: Path) -> None:
    class Grows(Walk):
        def __init__(self, length: int) -> None:
            super().__init__(length)
            self.actions = ["right"]

        def _look(self) -> Observation:
            self.actions += ["again"]
            return Observation("here", self.actions)  # type: ignore[arg-type]

    class Place(Corridor):
        def open(self, instance: Instance) -> Walk:
            return Grows(3)

    steps = played(tmp_path, Low, Place)["test/000"].steps
    assert [len(step.admissible) for step in steps] == [2, 3, 4]
