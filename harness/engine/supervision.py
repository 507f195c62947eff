"""Supervision of a router's code: the time that it took by itself, and a stop for one that never returns."""

from __future__ import annotations

import asyncio
import ctypes
import threading
import time
from collections.abc import Coroutine, Generator
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

from harness.errors import RunStopped

T = TypeVar("T")


class RouterStopped(RunStopped):
    """A router broke its contract."""


class RouterBlocked(BaseException):
    """Raised inside a router that blocks the event loop. Not an ``Exception``: the router must not catch it."""


_current: ContextVar[Supervised | None] = ContextVar("supervised", default=None)


class Supervised:
    """Awaitable around a router's coroutine that measures the time spent in the router's own code.

    ``own_seconds`` leaves out everything that the router awaits, but for tasks that it started itself: with
    ``measuring_tasks`` as the loop's task factory they are measured too. Calls to models run as ``unmeasured`` tasks.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self.own_seconds = 0.0
        self.entered: float | None = None
        self.left = time.perf_counter()
        self.idle = 0.0
        """Seconds since ``left`` without a call to a model, while the event loop was free to go on with it."""
        self.waits_for_model = 0
        self.timed_out = False

    def model_answered(self) -> None:
        """Note that a call has ended: the router's time limit starts anew."""
        self.waits_for_model -= 1
        self._leave()

    def __await__(self) -> Generator[Any, Any, Any]:
        _current.set(self)
        return self.measure(self._coroutine)

    def measure(self, coroutine: Coroutine[Any, Any, Any] | Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Drive ``coroutine``, adding the time between its awaits to ``own_seconds``."""
        value: Any = None
        error: BaseException | None = None
        while True:
            self.entered = time.perf_counter()
            try:
                yielded = coroutine.send(value) if error is None else coroutine.throw(error)
            except StopIteration as stop:
                return stop.value
            finally:
                self._leave()
                self.own_seconds += self.left - self.entered
                self.entered = None
            value = error = None
            try:
                value = yield yielded
            except BaseException as raised:
                error = raised

    def _leave(self) -> None:
        self.left, self.idle = time.perf_counter(), 0.0


class _Measured:
    """Awaitable that drives a coroutine on a router's clock."""

    def __init__(self, supervised: Supervised, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._supervised = supervised
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._supervised.measure(self._coroutine)


def measuring_tasks(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:  # noqa: ANN401
    """Task factory: tasks that a router starts are measured on its clock."""
    supervised = (options.get("context") or copy_context()).get(_current)
    if supervised is not None and asyncio.iscoroutine(coroutine):

        async def measured() -> Any:  # noqa: ANN401
            return await _Measured(supervised, coroutine)

        return asyncio.Task(measured(), loop=loop, **options)
    return asyncio.Task(coroutine, loop=loop, **options)


def unmeasured(coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a task whose time is not the router's."""
    context = copy_context()
    context.run(_current.set, None)
    return asyncio.get_running_loop().create_task(coroutine, context=context)


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
            except RouterBlocked:
                raise self._stopped("kept the event loop busy") from None

        task = asyncio.ensure_future(wait())
        self._watched[supervised] = task
        try:
            return await task
        except asyncio.CancelledError:
            if supervised.timed_out:
                raise self._stopped("neither returned nor called a model") from None
            task.cancel()
            raise
        finally:
            del self._watched[supervised]

    def close(self) -> None:
        """Stop watching."""
        self._over.set()
        self._thread.join()

    def _stopped(self, what: str) -> RouterStopped:
        return RouterStopped(f"the router {what} for {self._limit:g} s: fix it, or raise router_timeout in the suite")

    def _watch(self) -> None:
        period = min(1.0, self._limit / 4)
        last_tick = time.perf_counter()
        ticked = True  # at most one tick in a round of the loop, in which everyone who can go on has had a turn

        def tick() -> None:
            nonlocal last_tick, ticked
            ticked = True
            last, last_tick = last_tick, time.perf_counter()
            for supervised, task in list(self._watched.items()):
                if supervised.entered is None and not supervised.waits_for_model:
                    supervised.idle += min(last_tick - last, period)  # a late tick: others kept the loop busy
                    if supervised.idle > self._limit:
                        supervised.timed_out = True
                        task.cancel()

        while not self._over.wait(period):
            now = time.perf_counter()
            # The heartbeat also sees a router that blocks in a task of its own. Several that take their turns do not.
            moved = max([last_tick, *(each.entered or each.left for each in list(self._watched))])
            if self._watched and now - moved > self._limit:
                blocked = ctypes.py_object(RouterBlocked)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._loop_thread), blocked)
                last_tick = now
            if ticked:
                ticked = False
                self._loop.call_soon_threadsafe(tick)
