"""Scripted models for servers: they echo, wait until they are let go, or fail when told to."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

from mixroute import Completion, Request
from tests.command import PATIENCE
from tests.scripted import ScriptedModel


def echo(request: Request) -> str:
    """Says how many messages it has read, and the last of them."""
    return f"{len(request.prompt.messages)}: {request.prompt.messages[-1].content}"


class Held(ScriptedModel):
    """Answers only while it is let go."""

    def __init__(self, name: str) -> None:
        super().__init__(name, echo)
        self.go = threading.Event()
        self.cancelled = 0
        self.failing = False

    async def generate(self, request: Request) -> Completion:
        completion = await super().generate(request)
        try:
            while not self.go.is_set():
                await asyncio.sleep(0.002)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failing:
            raise RuntimeError("the device fell off the bus")
        return completion


def wait_until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.002)
