"""Running a router's code under a clock: how long it took by itself, and an end to one that never returns."""

from __future__ import annotations

import asyncio
import ctypes
import threading
import time
from collections.abc import Coroutine, Generator
from typing import Any

from harness.errors import MixrouteError


class RouterStopped(MixrouteError):
    """A router broke its contract; its run is stopped, finished episodes stay."""


class _Stuck(BaseException):
    """Raised inside a router that does not give the event loop back. Not an ``Exception``: it must not be caught."""


class Supervised:
    """Awaitable around a router's coroutine that measures the time spent in the router's own code.

    ``own_seconds`` leaves out everything that the router awaits: calls to models run as tasks of their own.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self.own_seconds = 0.0
        self.entered: float | None = None
        self.left = time.perf_counter()
        self.waits_for_model = 0
        self.timed_out = False

    def model_answered(self) -> None:
        """A call has ended: the router's clock starts anew."""
        self.waits_for_model -= 1
        self.left = time.perf_counter()

    def __await__(self) -> Generator[Any, Any, Any]:
        value: Any = None
        error: BaseException | None = None
        while True:
            self.entered = time.perf_counter()
            try:
                yielded = self._coroutine.send(value) if error is None else self._coroutine.throw(error)
            except StopIteration as stop:
                return stop.value
            finally:
                self.left = time.perf_counter()
                self.own_seconds += self.left - self.entered
                self.entered = None
            value = error = None
            try:
                value = yield yielded
            except BaseException as raised:
                error = raised


class Watchdog:
    """Stops routers of one event loop that spend more than ``limit`` seconds on a step without waiting for a model.

    A router that blocks the loop cannot be cancelled by the loop, so a thread raises an exception inside it. (One that
    hangs inside a C extension escapes this: the exception waits for the next Python instruction.)
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._watched: dict[Supervised, asyncio.Task[Any]] = {}
        self._over = threading.Event()
        self._loop_thread = threading.get_ident()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._watch, name="mixroute-watchdog", daemon=True)
        self._thread.start()

    async def run(self, supervised: Supervised) -> Any:  # noqa: ANN401 - what the router's coroutine returns
        """Await the router.

        Raises:
            RouterStopped: it exceeded the limit.
        """

        async def wait() -> Any:  # noqa: ANN401
            try:
                return await supervised
            except _Stuck:
                raise self._verdict("kept the event loop busy") from None

        task = asyncio.ensure_future(wait())
        self._watched[supervised] = task
        try:
            return await task
        except asyncio.CancelledError:
            if supervised.timed_out:
                raise self._verdict("neither returned nor called a model") from None
            task.cancel()
            raise
        finally:
            del self._watched[supervised]

    def close(self) -> None:
        """Stop watching."""
        self._over.set()

    def _verdict(self, what: str) -> RouterStopped:
        return RouterStopped(f"the router {what} for {self._limit:g} s: mend it, or raise router_timeout in the suite")

    def _watch(self) -> None:
        while not self._over.wait(min(1.0, self._limit / 4)):
            now = time.perf_counter()
            for supervised, task in list(self._watched.items()):
                entered = supervised.entered
                if entered is not None and now - entered > self._limit:
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(self._loop_thread), ctypes.py_object(_Stuck)
                    )
                elif entered is None and not supervised.waits_for_model and now - supervised.left > self._limit:
                    self._loop.call_soon_threadsafe(_time_out, supervised, task)


def _time_out(supervised: Supervised, task: asyncio.Task[Any]) -> None:
    supervised.timed_out = True
    task.cancel()
