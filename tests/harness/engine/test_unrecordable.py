"""What cannot be recorded is its episode's error, and what is recorded no plug-in can change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mixroute
from mixroute import Completion, Instance, MixrouteError, ModelCard, Observation, Prompt, Request, Step, Timing, Token
from tests.harness.engine.plugged import (
    Low,
    Scripted,
    backend_of,
    check_all_failed,
    environment_of,
    played,
    router_of,
    suite_of,
)
from tests.scripted import Corridor, Walk


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


@pytest.mark.parametrize("sizes", [(0, 5000), (700,) * 8, (0, 0, 3500)], ids=str)
def test_an_episode_longer_than_a_line_is_its_episodes_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, ...]
) -> None:
    monkeypatch.setattr("harness.lines.MOST_LINE", 4000)

    class Wide(Walk):
        def step(self, action: str) -> tuple[Observation, float, bool]:
            seen, reward, done = super().step(action)
            return Observation(seen.text + "x" * sizes[self._place]), reward, done

    class Long(Corridor):
        def open(self, instance: Instance) -> Walk:
            return Wide(len(sizes) - 1) if instance.id.endswith("1") else Walk(1)

    episodes = played(tmp_path, Low, Long)
    assert [episode.success for episode in episodes.values()] == [True, False, True, True]
    assert "bytes, and a line has 4000 at most" in str(episodes["test/001"].error)
    assert 1 <= len(episodes["test/001"].steps) < 7


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


UNRECORDABLE = {
    "nan": float("nan"),
    "inf": float("inf"),
    "half": "\ud800",
    "NUL": "\0",
    "set": {1, 2},
    "object": object(),
}


@pytest.mark.parametrize("value", UNRECORDABLE.values(), ids=UNRECORDABLE)
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
