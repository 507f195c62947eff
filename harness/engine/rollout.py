"""The engine: many episodes at once on one event loop; backends gather their calls into batches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from harness.contracts import Environment, thought_of
from harness.data import Instance, Observation, Turn
from harness.engine.answering import Play, StepInPlay
from harness.engine.environment import call_environment, checked_observation, checked_reward, checked_text, printable
from harness.engine.episode import LiveEpisode, StepResult
from harness.engine.supervision import measuring_tasks, unmeasured
from harness.engine.threads import DAEMON_THREADS
from harness.engine.watchdog import Watchdog
from harness.errors import RunStopped
from harness.guard import Blocked, contained, located
from harness.records import Episode, EpisodeTiming


class Observer(Protocol):
    """Receives an episode's progress."""

    def call_finished(self, tokens: int) -> None:
        """A step's calls decoded ``tokens`` tokens."""
        ...

    def episode_finished(self, episode: Episode, timing: EpisodeTiming) -> None:
        """An episode is over; persist it."""
        ...


async def play_all(play: Play, instances: Sequence[Instance], concurrency: int, observer: Observer) -> None:
    """Play the instances, ``concurrency`` at a time; each finished episode goes to ``observer`` at once.

    Raises:
        RunStopped: the router named an unknown model or never returned, or a model never answered. Other errors of
            plug-ins do not raise: they end their episode, which records them.
    """
    waiting = iter(instances)

    async def following() -> Instance | None:
        return next(waiting, None)

    await play_following(play, following, min(concurrency, len(instances)), observer)


async def play_following(
    play: Play, following: Callable[[], Awaitable[Instance | None]], concurrency: int, observer: Observer
) -> None:
    """Play instances as ``play_all`` does, which ``following`` gives one by one; None ends one of the ``concurrency``
    workers.
    """
    loop = asyncio.get_running_loop()
    loop.set_task_factory(measuring_tasks)
    loop.set_default_executor(DAEMON_THREADS)  # a router's threads may hang
    watchdog = Watchdog(play.router_timeout, play.environment_timeout, play.pool)

    async def worker() -> None:
        while (instance := await following()) is not None:
            observer.episode_finished(*await _play_one(play, instance, watchdog, observer))

    workers = [unmeasured(worker()) for _ in range(concurrency)]
    try:
        await _until_done(workers, watchdog.failure)
    finally:
        watchdog.close()
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def _until_done(workers: Sequence[asyncio.Task[None]], failure: asyncio.Future[RunStopped]) -> None:
    """Wait for the workers; raises ``failure``, or else what one of them raised, as soon as there is any."""
    left: set[asyncio.Future[Any]] = set(workers)
    while left:
        done, _ = await asyncio.wait({*left, failure}, return_when=asyncio.FIRST_COMPLETED)
        if failure.done():
            raise failure.result()
        for one in done:
            one.result()
        left -= done


async def _play_one(
    play: Play, instance: Instance, watchdog: Watchdog, observer: Observer
) -> tuple[Episode, EpisodeTiming]:
    live = LiveEpisode(instance)
    task = play.task
    success, failure = False, None
    environment: Environment | None = None
    try:
        environment = await call_environment(task, watchdog, "open", lambda: task.open(instance))
        began = time.perf_counter()
        live.observation = checked_observation(await call_environment(task, watchdog, "reset", environment.reset))
        live.reset_seconds = time.perf_counter() - began
        while not live.done and len(live.steps) < task.step_cap:
            await _play_step(play, environment, live, watchdog, observer)
        success = contained(lambda: task.is_success(live.score))
        await call_environment(task, watchdog, "close", environment.close)
    except (RunStopped, Blocked):
        play.release(instance)
        raise
    except (Exception, asyncio.CancelledError) as error:  # whatever a plug-in raises ends its episode, never the run
        if isinstance(error, asyncio.CancelledError):
            if watchdog.closed:
                play.release(instance)
                raise
            _take_back_cancellation()
        success, failure = False, error
        if environment is not None:
            with suppress(Exception):
                await call_environment(task, watchdog, "close", environment.close)
    released = play.release(instance)
    failure = failure or released
    error_text = None if failure is None else printable(located(failure))
    if failure is not None:
        play.failures.log(failure, f"{instance.id}, step {len(live.steps)}")
    return live.finish(play.run, play.seed, success=success if failure is None else False, error=error_text)


def _take_back_cancellation() -> None:
    """Go on after a plug-in has cancelled the task of its episode."""
    current = asyncio.current_task()
    while current is not None and current.cancelling():
        current.uncancel()


async def _play_step(
    play: Play, environment: Environment, live: LiveEpisode, watchdog: Watchdog, observer: Observer
) -> None:
    task, seen = play.task, live.observation
    # What the trace will hold, and no more: an environment's list may answer ``in`` for actions it does not name.
    shown = Observation(seen.text, tuple(seen.admissible))
    prompt = contained(lambda: task.prompt(live.turns, shown))
    playing = StepInPlay.after(live, shown, prompt, play, watchdog)
    result = StepResult(valid=_is_valid(seen, ""))
    failure: Exception | None = None
    try:
        accepted = await playing.answer()
        action = checked_text(contained(lambda: task.parse_action(accepted.text)))
        result.answer, result.action = accepted, action
        result.thought = thought_of(task, accepted.text)
        result.valid = _is_valid(seen, action)  # before the step, which may change the environment's list
        began = time.perf_counter()
        observation, reward, done = await call_environment(task, watchdog, "step", lambda: environment.step(action))
        result.environment_seconds = time.perf_counter() - began
        live.observation, result.reward, live.done = checked_observation(observation), checked_reward(reward), done
    except (RunStopped, asyncio.CancelledError, Blocked):
        playing.calls.close()
        raise
    except Exception as error:
        if playing.calls.violation:
            raise playing.calls.violation from error
        failure = error
    # A step that fails has cost what it asked for, and is recorded so.
    calls = await playing.end()
    live.record_step(shown, calls, result, dict(playing.step.scores), playing.supervised.own_seconds)
    if failure is not None:
        raise failure
    live.turns.append(Turn(shown, live.steps[-1].text, live.steps[-1].action, live.steps[-1].thought))
    observer.call_finished(sum(len(call.tokens) for call in calls))


def _is_valid(seen: Observation, action: str) -> bool | None:
    return bool(action in seen.admissible) if tuple(seen.admissible) else None
