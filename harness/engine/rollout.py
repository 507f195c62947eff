"""The engine: many episodes at once on one event loop; backends gather their calls into batches."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Protocol, TypeVar

from harness.contracts import Backend, Environment, Router, Task
from harness.data import Completion, Instance, Observation, Request, Turn
from harness.engine.step import CallDesk, LiveStep, check_answer, places
from harness.engine.supervision import RouterStopped, Stuck, Supervised, Watchdog, measuring_tasks
from harness.errors import EpisodeError, RunStopped
from harness.records import CallTiming, Episode, EpisodeTiming, StepRecord, StepTiming
from harness.seeding import seed_for
from harness.traces.cost import record_call
from harness.traces.store import SCHEMA

T = TypeVar("T")

NO_MODEL = "none"
"""Stands for the model of a step that ended in an error before its action was known."""


class Observer(Protocol):
    """Who is told about progress."""

    def call_finished(self, tokens: int) -> None:
        """A step's calls decoded ``tokens`` tokens."""
        ...

    def episode_finished(self, episode: Episode, timing: EpisodeTiming) -> None:
        """An episode is over; persist it."""
        ...


@dataclass(frozen=True, slots=True)
class Play:
    """All that an episode needs and shares with the others of its run."""

    run: str
    seed: int
    temperature: float
    task: Task
    router: Router
    pool: Mapping[str, Backend]
    router_timeout: float

    def session(self, instance: Instance) -> str:
        """Names the episode's caches; says nothing of the instance, since routers can come by it."""
        return f"{seed_for(self.run, instance.id):016x}"


@dataclass(slots=True)
class _Live:
    """An episode on its way."""

    steps: list[StepRecord] = field(default_factory=list)
    timings: list[StepTiming] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    last_call: str | None = None
    observation: Observation = field(default=Observation(""))
    reset: float = 0.0
    done: bool = False

    @property
    def score(self) -> float:
        """Sum of the rewards so far."""
        return sum(step.reward for step in self.steps)


async def play_all(play: Play, instances: Sequence[Instance], concurrency: int, observer: Observer) -> None:
    """Play the instances, ``concurrency`` at a time; each finished episode goes to ``observer`` at once.

    Raises:
        RouterStopped: the router named an unknown model or never returned. Model and environment errors do not raise:
            they end their episode, which records them.
    """
    waiting = iter(instances)
    asyncio.get_running_loop().set_task_factory(measuring_tasks)
    watchdog = Watchdog(play.router_timeout)

    async def worker() -> None:
        for instance in waiting:
            observer.episode_finished(*await _play_one(play, instance, watchdog, observer))

    end: BaseException | None = None  # raised below: Python 3.11.2 wraps what an except* clause raises in a group
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(instances))):
                group.create_task(worker())
    except* RunStopped as stopped:
        end = _first(stopped)
    except* Stuck:
        end = RouterStopped("the router kept the event loop busy: mend it, or raise router_timeout")
    finally:
        watchdog.close()
    if end is not None:
        raise end


def _first(group: BaseExceptionGroup[RunStopped]) -> RunStopped:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


async def _play_one(
    play: Play, instance: Instance, watchdog: Watchdog, observer: Observer
) -> tuple[Episode, EpisodeTiming]:
    live = _Live()
    error: str | None = None
    environment: Environment | None = None
    try:
        environment = await _call(play.task, lambda: play.task.open(instance))
        began = time.perf_counter()
        live.observation = _checked(await _call(play.task, environment.reset))
        live.reset = time.perf_counter() - began
        while not live.done and len(live.steps) < play.task.step_cap:
            await _step(play, instance, environment, live, watchdog, observer)
        success = play.task.is_success(live.score)
        await _call(play.task, environment.close)
    except RunStopped:
        raise
    except Exception as failure:  # whatever a plug-in raises ends its episode, never the run
        success, error = False, _printable(f"{type(failure).__name__}: {failure}")
        if environment is not None:
            with suppress(Exception):
                await _call(play.task, environment.close)
    finally:
        for model in play.pool.values():
            model.release(play.session(instance))
    episode = Episode(
        schema=SCHEMA,
        run=play.run,
        instance=instance.id,
        kind=instance.kind,
        seed=play.seed,
        score=live.score,
        success=success,
        end="error" if error else "done" if live.done else "step_cap",
        error=error,
        steps=live.steps,
        final_observation=live.observation.text,
    )
    return episode, EpisodeTiming(instance.id, play.seed, live.reset, live.timings)


async def _step(
    play: Play, instance: Instance, environment: Environment, live: _Live, watchdog: Watchdog, observer: Observer
) -> None:
    task, seen = play.task, live.observation
    # What the trace will hold, and no more: an environment's list may answer ``in`` for actions it does not name.
    shown = Observation(seen.text, tuple(seen.admissible))
    index = len(live.steps)
    request = Request(
        session=play.session(instance),
        prompt=task.prompt(live.turns, shown),
        stop=task.stop,
        max_tokens=task.max_tokens,
        temperature=play.temperature,
        seed=seed_for(play.seed, instance.id, index, "sampling"),
    )
    desk = CallDesk(play.pool, request)
    step = LiveStep(
        index=index,
        prompt=request.prompt,
        observation=shown,
        turns=tuple(live.turns),
        models_used=tuple(record.model for record in live.steps),
        models=tuple(play.pool),
        stop=request.stop,
        max_tokens=request.max_tokens,
        rng=random.Random(seed_for(play.seed, instance.id, index, "router")),  # noqa: S311 - reproducible on purpose
        _ask=lambda model, changes: desk.ask(model, changes),  # not the bound method, which would lead to the desk
    )
    supervised = desk.supervised = Supervised(play.router.act(step))
    text = action = ""
    model, reward, seconds = NO_MODEL, 0.0, 0.0
    parts: list[int] = []
    until = ""
    failure: Exception | None = None
    try:
        answer = await watchdog.run(supervised)
        if desk.violation:
            raise desk.violation
        calls = await desk.calls()
        answer = check_answer(answer, calls)
        parts, until = places(answer, calls), answer.until
        text, model, action = answer.text, answer.model, _text(task.parse_action(answer.text))
        began = time.perf_counter()
        observation, earned, done = await _call(task, lambda: environment.step(action))
        seconds = time.perf_counter() - began
        live.observation, reward, live.done = _checked(observation), _finite(earned), done
    except (RunStopped, asyncio.CancelledError, Stuck):
        desk.close()
        raise
    except Exception as error:
        failure = error
    # A step that fails has cost what it asked for, and is recorded so.
    calls = await desk.calls()
    desk.close()
    end = StepEnd(text, action, model, reward, step.scores, parts, until)
    _record(live, seen, calls, end, seconds, supervised.own_seconds)
    if failure is not None:
        raise failure
    live.turns.append(Turn(shown, text, action))
    observer.call_finished(sum(len(call.tokens) for call in calls))


@dataclass(frozen=True, slots=True)
class StepEnd:
    """What came of a step."""

    text: str
    action: str
    model: str
    reward: float
    scores: dict[str, float]
    parts: list[int]
    until: str


def _record(
    live: _Live,
    seen: Observation,
    calls: Sequence[Completion],
    end: StepEnd,
    environment_seconds: float,
    router_seconds: float,
) -> None:
    records = []
    for call in calls:
        records.append(record_call(call, switch=live.last_call not in (None, call.model)))
        live.last_call = call.model
    live.steps.append(
        StepRecord(
            observation=seen.text,
            admissible=list(seen.admissible),
            calls=records,
            text=end.text,
            action=end.action,
            valid=end.action in seen.admissible if seen.admissible else None,
            reward=end.reward,
            model=end.model,
            scores=end.scores,
            parts=end.parts,
            until=end.until,
        )
    )
    measured = [CallTiming(**asdict(call.timing), reused=call.reused) for call in calls]
    live.timings.append(StepTiming(environment_seconds, router_seconds, measured))


def _text(text: str) -> str:
    """``text`` if it can be written as UTF-8."""
    if _printable(text) != text:
        raise EpisodeError(f"text that is not Unicode: {text!r}")
    return text


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _checked(observation: Observation) -> Observation:
    for text in (observation.text, *observation.admissible):
        _text(text)
    return observation


def _finite(reward: float) -> float:
    if not math.isfinite(reward):
        raise EpisodeError(f"the environment gave the reward {reward}")
    return float(reward)


async def _call(task: Task, function: Callable[[], T]) -> T:
    """Call into the environment, on a thread of its own where that may take long."""
    return await asyncio.to_thread(function) if task.blocking else function()
