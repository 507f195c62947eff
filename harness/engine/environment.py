"""Calls into an environment, and checks of what it gives: text that can be written, rewards that are finite."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any, TypeVar

from harness.contracts import Task
from harness.data import Observation
from harness.engine.threads import DAEMON_THREADS
from harness.engine.watchdog import BUSY, Occupant, Watchdog
from harness.errors import EpisodeError
from harness.guard import Blocked, contained
from harness.records import MOST
from harness.text import quoted

T = TypeVar("T")


async def call_environment(task: Task, watchdog: Watchdog, method: str, function: Callable[[], T]) -> T:
    """Call into the environment, on a thread of its own where that may take long.

    Args:
        task: Whose environment it is.
        watchdog: Has the time limit.
        method: What is called, for messages.
        function: Calls it.

    Raises:
        EpisodeError: it exceeded the time limit, or raised what is no ``Exception``.
    """
    who = f"the environment's '{method}'"
    occupant = Occupant(watchdog, who, "environment_timeout", watchdog.environment_limit)
    if not task.blocking:
        try:
            return occupant.occupy(lambda: contained(function))
        except Blocked:
            raise EpisodeError(occupant.too_long(BUSY)) from None
    loop = asyncio.get_running_loop()
    late: asyncio.Future[None] = loop.create_future()
    work = loop.run_in_executor(DAEMON_THREADS, contained, function)
    work.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be waiting
    watchdog.calls[occupant] = late
    try:
        either: set[asyncio.Future[Any]] = {work, late}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        del watchdog.calls[occupant]
    if not work.done():
        raise EpisodeError(occupant.too_long("did not return"))
    return work.result()


def printable(text: str) -> str:
    """``text`` with escapes for what cannot be written as UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def checked_text(text: str) -> str:
    """``text`` itself.

    Raises:
        EpisodeError: it is no text, or cannot be written as UTF-8.
    """
    if not isinstance(text, str):
        raise EpisodeError(f"{type(text).__name__} instead of text")
    if printable(text) != text:
        raise EpisodeError(f"text that is not Unicode: {quoted(text)}")
    return text


def checked_observation(observation: Observation) -> Observation:
    """The observation itself.

    Raises:
        EpisodeError: one of its texts cannot be written as UTF-8.
    """
    for text in (observation.text, *observation.admissible):
        checked_text(text)
    return observation


def checked_reward(reward: float) -> float:
    """The reward as a float.

    Raises:
        EpisodeError: it is infinite, not a number, or too large to be recorded.
    """
    if not math.isfinite(reward) or abs(reward) > MOST:
        raise EpisodeError(f"the environment gave the reward {reward}")
    return float(reward)
