"""The engine on scripted models: what is recorded, what is charged, and what ends an episode or a run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace

import pytest

from harness import Completion, Observation, Request, Step, StepRouter, join
from harness.rollout import Play, play_all
from harness.seeding import seed_for
from harness.supervision import RouterStopped
from harness.trace import Episode, EpisodeTiming
from tests.scripted import Corridor, ScriptedModel, Walk


class Alternate(StepRouter):
    def choose(self, step: Step) -> str:
        return step.models[step.index % 2]


def session(instance: str) -> str:
    """The session of an instance in ``play``."""
    return f"{seed_for('hash', instance):016x}"


class Seen:
    """Keeps what the engine reports."""

    def __init__(self) -> None:
        self.episodes: dict[str, Episode] = {}
        self.timings: dict[str, EpisodeTiming] = {}
        self.order: list[str] = []

    def call_finished(self, tokens: int) -> None:
        pass

    def episode_finished(self, episode: Episode, timing: EpisodeTiming) -> None:
        self.episodes[episode.instance] = episode
        self.timings[timing.instance] = timing
        self.order.append(episode.instance)


def play(
    router: object,
    models: Mapping[str, ScriptedModel] | None = None,
    task: Corridor | None = None,
    concurrency: int = 4,
    timeout: float = 30.0,
) -> Seen:
    seen = Seen()
    task = task or Corridor()
    pool = models or {"high": ScriptedModel("high"), "low": ScriptedModel("low")}
    plan = Play("hash", 7, 0.0, task, router, pool, timeout)  # type: ignore[arg-type]
    asyncio.run(play_all(plan, task.instances(), concurrency, seen))
    return seen


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
    assert {name: episode.error for name, episode in seen.episodes.items()} == {
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


def test_a_router_that_waits_for_ever_is_stopped() -> None:
    class Sleeper(StepRouter):
        def choose(self, step: Step) -> str:
            return "high"

        async def act(self, step: Step) -> Completion:
            await asyncio.sleep(3600)
            return await super().act(step)

    with pytest.raises(RouterStopped, match="neither returned nor called a model for 0.2 s"):
        play(Sleeper(), timeout=0.2)


def test_a_router_that_loops_for_ever_is_stopped() -> None:
    class Busy(StepRouter):
        def choose(self, step: Step) -> str:
            while True:
                pass

    with pytest.raises(RouterStopped, match="kept the event loop busy"):
        play(Busy(), timeout=0.2)


def test_a_slow_model_is_not_the_routers_fault() -> None:
    slow = ScriptedModel("high", seconds=1.5)
    seen = play(Alternate(), {"high": slow, "low": slow}, Corridor(length=1, count=2), timeout=1.0)
    assert all(episode.success for episode in seen.episodes.values())


def test_a_routers_own_exception_is_recorded() -> None:
    class Broken(StepRouter):
        def choose(self, step: Step) -> str:
            raise KeyError("weights")

    assert play(Broken()).episodes["test/000"].error == "KeyError: 'weights'"


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


def test_router_time_is_its_own_and_not_the_models() -> None:
    class Thinker(StepRouter):
        def choose(self, step: Step) -> str:
            time.sleep(0.02)
            return "high"

    slow = ScriptedModel("high", seconds=0.2)
    timing = play(Thinker(), {"high": slow}, Corridor(length=1, count=1)).timings["test/000"]
    assert 0.02 <= timing.steps[0].router < 0.02 + 0.2 * 0.9


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
    assert {episode.error for episode in episodes.values()} == {"OSError: the door is stuck"}
    assert len(episodes) == 4


def test_what_cannot_be_written_is_an_error_of_its_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Walk, "step", lambda self, action: (Observation("ok"), float("nan"), False))
    assert play(Alternate()).episodes["test/000"].error == "EpisodeError: the environment gave the reward nan"
    monkeypatch.setattr(Walk, "step", lambda self, action: (Observation("\ud800"), 0.0, False))
    assert "not Unicode" in str(play(Alternate()).episodes["test/000"].error)
