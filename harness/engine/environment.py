"""Calls into an environment, and checks of what it gives: text that can be written, rewards that are finite."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import TypeVar

from harness.contracts import Task
from harness.data import Observation
from harness.errors import EpisodeError

T = TypeVar("T")


async def call_environment(task: Task, function: Callable[[], T]) -> T:
    """Call into the environment, on a thread of its own where that may take long."""
    return await asyncio.to_thread(function) if task.blocking else function()


def printable(text: str) -> str:
    """``text`` with escapes for what cannot be written as UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def checked_text(text: str) -> str:
    """``text`` itself.

    Raises:
        EpisodeError: it cannot be written as UTF-8.
    """
    if printable(text) != text:
        raise EpisodeError(f"text that is not Unicode: {text!r}")
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
        EpisodeError: it is infinite or not a number.
    """
    if not math.isfinite(reward):
        raise EpisodeError(f"the environment gave the reward {reward}")
    return float(reward)
