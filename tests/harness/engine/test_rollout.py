"""The engine on scripted models: what is recorded, what is charged, and what ends an episode or a run."""

from __future__ import annotations

import asyncio

import pytest

from harness.engine.watchdog import RouterStopped
from mixroute import Completion, Observation, Request, Step, StepRouter, join
from tests.harness.playing import Alternate, message, play, session
from tests.scripted import Corridor, ScriptedModel, Walk


def test_an_episode_records_what_was_seen_asked_and_done() -> None:
    episode = play(Alternate()).episodes["test/000"]
    assert (episode.success, episode.score, episode.end, episode.error) == (True, 1.0, "done", None)
    assert [step.model for step in episode.steps] == ["high", "low", "high"]
    assert [step.calls[0].switch for step in episode.steps] == [False, True, True]
    first = episode.steps[0]
    assert (first.observation, first.action, first.text, first.valid) == ("You are at 0.", "right", " right", True)
    call = first.calls[0]
    assert (call.prompt_tokens, call.cached_tokens, call.decoded_tokens, call.content_tokens) == (10, 4, 7, 6)
    assert episode.final_observation == "You are at 3."


def test_an_invalid_action_is_recorded_and_charged_and_never_repaired() -> None:
    low = ScriptedModel("low", lambda request: " Right!")
    episode = play(Alternate(), {"low": low, "high": low}).episodes["test/000"]
    assert {(step.action, step.valid) for step in episode.steps} == {("Right!", False)}
    assert (episode.end, episode.success, len(episode.steps)) == ("step_cap", False, 10)


@pytest.mark.parametrize("concurrency", [1, 3, 8])
def test_randomness_depends_on_the_instance_and_not_on_the_order(concurrency: int) -> None:
    class Draw(StepRouter):
        def choose(self, step: Step) -> str:
            return "high" if step.rng.random() < 0.5 else "low"

    models = {name: ScriptedModel(name, seconds=0.003) for name in ("high", "low")}
    task = Corridor(length=8, count=6)
    assert play(Draw(), models, task, concurrency).episodes == play(Draw(), task=task, concurrency=6).episodes


def test_fast_episodes_do_not_wait_for_a_slow_one() -> None:
    def answer(request: Request) -> str:
        return " left" if request.session == session("test/000") else " right"

    models = {name: ScriptedModel(name, answer, 0.002) for name in ("high", "low")}
    slow_first = play(Alternate(), models, Corridor(step_cap=60), concurrency=2)
    assert slow_first.order[-1] == "test/000"


def test_errors_of_model_and_environment_end_their_episode_only() -> None:
    def answer(request: Request) -> str:
        if request.session == session("test/001"):
            raise RuntimeError("the device fell off the bus")
        return " explode" if request.session == session("test/002") else " right"

    seen = play(Alternate(), {name: ScriptedModel(name, answer) for name in ("high", "low")})
    assert {name: message(episode) for name, episode in seen.episodes.items()} == {
        "test/000": None,
        "test/001": "RuntimeError: the device fell off the bus",
        "test/002": "RuntimeError: the corridor caved in",
        "test/003": None,
    }
    assert seen.episodes["test/001"].end == "error"


def test_a_step_that_fails_is_charged_for_its_calls() -> None:
    low = ScriptedModel("low", lambda request: " explode")

    class Low(StepRouter):
        def choose(self, step: Step) -> str:
            return "low"

    class Raises(Low):
        async def act(self, step: Step) -> Completion:
            await super().act(step)
            raise ValueError("lost my head")

    for router, model in ((Low(), "low"), (Raises(), "none")):
        episode = play(router, {"low": low}).episodes["test/000"]
        assert episode.end == "error"
        (step,) = episode.steps
        assert (step.model, step.reward, [call.decoded_tokens for call in step.calls]) == (model, 0.0, [9])


def test_an_answer_that_the_task_cannot_parse_is_charged_and_has_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Corridor, text: str) -> str:
        raise ValueError("no verb")

    monkeypatch.setattr(Corridor, "parse_action", fail)
    episode = play(Alternate()).episodes["test/000"]
    (step,) = episode.steps
    assert (message(episode), step.model, step.text, step.action) == ("ValueError: no verb", "none", "", "")
    assert [call.text for call in step.calls] == [" right"]


def test_what_a_router_logs_is_in_the_trace() -> None:
    class Tells(StepRouter):
        def choose(self, step: Step) -> str:
            step.log(p_high=1 / 3, steps=step.index)
            return "low"

    low = ScriptedModel("low", lambda request: " left")
    steps = play(Tells(), {"low": low}).episodes["test/000"].steps
    assert [step.scores for step in steps] == [{"p_high": 0.333333, "steps": index} for index in range(len(steps))]

    class Undefined(Tells):
        def choose(self, step: Step) -> str:
            step.log(p_high=float("nan"))
            return "low"

    episode = play(Undefined(), {"low": low}).episodes["test/000"]
    assert episode.error == "EpisodeError: the router logs p_high = nan: log finite numbers"


def test_sessions_are_released_whatever_happens() -> None:
    def answer(request: Request) -> str:
        raise RuntimeError("no")

    model = ScriptedModel("high", answer)
    play(Alternate(), {"high": model, "low": model})
    assert set(model.released) == {session(f"test/00{number}") for number in range(4)}


def test_an_unknown_model_stops_the_run_with_the_known_ones() -> None:
    class Typo(StepRouter):
        def choose(self, step: Step) -> str:
            return "hihg"

    with pytest.raises(RouterStopped, match="'hihg': the pool has high, low"):
        play(Typo())


def test_calls_that_the_router_did_not_wait_for_are_charged() -> None:
    class Hasty(StepRouter):
        def choose(self, step: Step) -> str:
            return "low"

        async def act(self, step: Step) -> Completion:
            background = asyncio.ensure_future(step.ask("high"))
            answer = await step.ask("low")
            background.cancel()
            return answer

    models = {"high": ScriptedModel("high", seconds=0.05), "low": ScriptedModel("low")}
    episode = play(Hasty(), models).episodes["test/000"]
    assert [sorted(call.model for call in step.calls) for step in episode.steps] == [["high", "low"]] * 3


def test_an_answer_that_no_model_gave_ends_the_episode() -> None:
    class Cheat(StepRouter):
        def choose(self, step: Step) -> str:
            return "low"

        async def act(self, step: Step) -> Completion:
            answer = await step.ask("low")
            return Completion("low", " right", answer.tokens, 6, "stop", 0, 0)

    low = ScriptedModel("low", lambda request: " left")
    error = play(Cheat(), {"low": low}).episodes["test/000"].error
    assert error == "EpisodeError: the router returned text that no model of this step wrote"


def test_a_step_may_be_made_of_several_models() -> None:
    class Halves(StepRouter):
        def choose(self, step: Step) -> str:
            return "low"

        async def act(self, step: Step) -> Completion:
            start = await step.ask("low", max_tokens=1)
            return join([start, await step.ask("high", continue_from=start.text)])

    models = {"low": ScriptedModel("low", lambda r: " ri"), "high": ScriptedModel("high", lambda r: "ght")}
    episode = play(Halves(), models).episodes["test/000"]
    assert episode.success
    assert {step.model for step in episode.steps} == {"mixed"}
    assert {request.continue_from for request in models["high"].requests} == {" ri"}


def test_a_part_may_be_used_once_only() -> None:
    class Repeats(StepRouter):
        def choose(self, step: Step) -> str:
            return "low"

        async def act(self, step: Step) -> Completion:
            part = await step.ask("low")
            return join([part, part])

    error = play(Repeats()).episodes["test/000"].error
    assert error == "EpisodeError: the router returned text that no model of this step wrote"


@pytest.mark.parametrize("method", ["close", "reset"])
def test_an_environment_that_fails_outside_a_step_ends_its_episode_only(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def fail(self: Walk) -> None:
        raise OSError("the door is stuck")

    monkeypatch.setattr(Walk, method, fail)
    episodes = play(Alternate()).episodes
    assert {message(episode) for episode in episodes.values()} == {"OSError: the door is stuck"}
    assert len(episodes) == 4


def test_what_cannot_be_written_is_an_error_of_its_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Walk, "step", lambda self, action: (Observation("ok"), float("nan"), False))
    assert play(Alternate()).episodes["test/000"].error == "EpisodeError: the environment gave the reward nan"
    monkeypatch.setattr(Walk, "step", lambda self, action: (Observation("\ud800"), 0.0, False))
    assert "not Unicode" in str(play(Alternate()).episodes["test/000"].error)
