"""The engine: many episodes at once on one event loop; backends gather their calls into batches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from harness.contracts import Backend, Environment, Router, Task
from harness.data import Instance, Observation, Request, Turn
from harness.engine.environment import (
    call_environment,
    checked_observation,
    checked_reward,
    checked_text,
    printable,
)
from harness.engine.episode import LiveEpisode, StepResult
from harness.engine.step import LiveStep, StepCalls, check_answer
from harness.engine.supervision import RouterBlocked, RouterStopped, Supervised, Watchdog, measuring_tasks
from harness.errors import RunStopped
from harness.records import Episode, EpisodeTiming
from harness.seeding import seed_for


class Observer(Protocol):
    """Receives an episode's progress."""

    def call_finished(self, tokens: int) -> None:
        """A step's calls decoded ``tokens`` tokens."""
        ...

    def episode_finished(self, episode: Episode, timing: EpisodeTiming) -> None:
        """An episode is over; persist it."""
        ...


@dataclass(frozen=True, slots=True)
class Play:
    """What all episodes of a run share."""

    run: str
    seed: int
    temperature: float
    task: Task
    router: Router
    pool: Mapping[str, Backend]
    router_timeout: float

    def session(self, instance: Instance) -> str:
        """Name of the episode's caches. It does not give the instance away, since routers may find it."""
        return f"{seed_for(self.run, instance.id):016x}"


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
    except* RouterBlocked:
        end = RouterStopped("the router kept the event loop busy: fix it, or raise router_timeout")
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
    live = LiveEpisode(instance)
    error: str | None = None
    environment: Environment | None = None
    try:
        environment = await call_environment(play.task, lambda: play.task.open(instance))
        began = time.perf_counter()
        live.observation = checked_observation(await call_environment(play.task, environment.reset))
        live.reset_seconds = time.perf_counter() - began
        while not live.done and len(live.steps) < play.task.step_cap:
            await _play_step(play, environment, live, watchdog, observer)
        success = play.task.is_success(live.score)
        await call_environment(play.task, environment.close)
    except RunStopped:
        raise
    except Exception as failure:  # whatever a plug-in raises ends its episode, never the run
        success, error = False, printable(f"{type(failure).__name__}: {failure}")
        if environment is not None:
            with suppress(Exception):
                await call_environment(play.task, environment.close)
    finally:
        for model in play.pool.values():
            model.release(play.session(instance))
    return live.finish(play.run, play.seed, success=success, error=error)


async def _play_step(
    play: Play, environment: Environment, live: LiveEpisode, watchdog: Watchdog, observer: Observer
) -> None:
    task, instance, seen = play.task, live.instance, live.observation
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
    step_calls = StepCalls(play.pool, request)
    step = LiveStep.of_episode(
        task=task,
        instance=instance.id,
        seed=play.seed,
        turns=tuple(live.turns),
        observation=shown,
        prompt=request.prompt,
        models_used=live.models_used,
        models=tuple(play.pool),
        ask=lambda model, changes: step_calls.ask(model, changes),  # the bound method would lead to the calls
    )
    supervised = step_calls.supervised = Supervised(play.router.act(step))
    result = StepResult()
    failure: Exception | None = None
    try:
        answer = await watchdog.run(supervised)
        if step_calls.violation:
            raise step_calls.violation
        accepted = check_answer(answer, await step_calls.finished())
        action = checked_text(task.parse_action(accepted.text))
        result.answer, result.action = accepted, action
        began = time.perf_counter()
        observation, reward, done = await call_environment(task, lambda: environment.step(action))
        result.environment_seconds = time.perf_counter() - began
        live.observation, result.reward, live.done = checked_observation(observation), checked_reward(reward), done
    except (RunStopped, asyncio.CancelledError, RouterBlocked):
        step_calls.close()
        raise
    except Exception as error:
        failure = error
    # A step that fails has cost what it asked for, and is recorded so.
    calls = await step_calls.finished()
    step_calls.close()
    live.record_step(seen, calls, result, step.scores, supervised.own_seconds)
    if failure is not None:
        raise failure
    live.turns.append(Turn(shown, live.steps[-1].text, live.steps[-1].action))
    observer.call_finished(sum(len(call.tokens) for call in calls))
