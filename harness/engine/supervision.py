"""Supervision of plug-ins on the event loop: the time that a router took by itself, and errors that stay its own."""

from __future__ import annotations

import asyncio
import ctypes
import time
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, TypeVar

from harness.engine.watchdog import Occupant, RouterStopped, Watchdog
from harness.errors import EpisodeError, PluginExited
from harness.guard import Blocked, described, is_users

T = TypeVar("T")


_current: ContextVar[Supervised | None] = ContextVar("supervised", default=None)


def drive(
    occupant: Occupant, coroutine: Coroutine[Any, Any, Any] | Generator[Any, Any, Any]
) -> Generator[Any, Any, Any]:
    """Drive a plug-in's coroutine, which occupies the event loop between its awaits.

    Raises:
        PluginExited: it raised what is no ``Exception``.
        Blocked: it kept the event loop busy. The watchdog then stops the run.
    """
    error: BaseException | None = None
    resume: Callable[[], Any] = partial(coroutine.send, None)
    while True:
        if occupant.halted or isinstance(error, GeneratorExit):
            _abandon(coroutine)
            raise error if isinstance(error, GeneratorExit) else asyncio.CancelledError
        try:
            yielded = occupant.occupy(resume)
        except StopIteration as stop:
            return stop.value
        except Blocked:
            _abandon(coroutine)
            raise
        except (Exception, asyncio.CancelledError):
            raise
        except BaseException as raised:
            if is_users(raised):
                raise
            exited = PluginExited(described(raised))
            occupant.exited = occupant.exited or exited
            raise exited from raised
        error = None
        try:
            resume = partial(coroutine.send, (yield yielded))
        except BaseException as raised:
            error, resume = raised, partial(coroutine.throw, raised)


def _abandon(coroutine: Coroutine[Any, Any, Any] | Generator[Any, Any, Any]) -> None:
    """Close a coroutine, which may refuse."""
    chain: list[object] = []
    inner: object = coroutine
    while inner is not None:
        chain.append(inner)
        inner = getattr(inner, "cr_await", None) or getattr(inner, "gi_yieldfrom", None)
    try:
        coroutine.close()
    except BaseException:
        for one in chain:  # it goes on after GeneratorExit, and would be closed again when it is freed: never
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(one))


class Driven:
    """Awaitable that drives a coroutine; see ``drive``."""

    def __init__(self, occupant: Occupant, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._occupant = occupant
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        return drive(self._occupant, self._coroutine)


class Supervised(Occupant):
    """Awaitable around a router's coroutine that measures the time spent in the router's own code.

    ``own_seconds`` leaves out everything that the router awaits, but for tasks that it started itself: with
    ``measuring_tasks`` as the loop's task factory they are measured too. Calls to models run as ``unmeasured`` tasks.
    """

    def __init__(self, begin: Callable[[], Coroutine[Any, Any, Any]], watchdog: Watchdog) -> None:
        super().__init__(watchdog, "the router", "router_timeout", watchdog.router_limit, RouterStopped)
        self._begin = begin
        self.own_seconds = 0.0
        self.idle = 0.0
        """Seconds since its last call to a model, or since the answer, in which the event loop was free to go on."""
        self.waits_for_model = 0

    def asks(self) -> None:
        """Note a call to a model: the time until it is answered does not count."""
        self.waits_for_model += 1
        self.idle = self.spent = 0.0

    def is_answered(self) -> None:
        """Note that a call has ended: the router's time limit starts anew."""
        self.waits_for_model -= 1
        self.idle = self.spent = 0.0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Stop a router that neither returns nor asks a model until the block ends."""
        self.watchdog.routers.add(self)
        try:
            yield
        finally:
            self.watchdog.routers.discard(self)

    def __await__(self) -> Generator[Any, Any, Any]:
        _current.set(self)
        return drive(self, self._begin())

    def occupy(self, call: Any) -> Any:  # noqa: ANN401 - what the coroutine yields
        """Occupy the event loop as ``Occupant.occupy`` does, on the router's clock."""
        entered = time.perf_counter()
        try:
            return super().occupy(call)
        finally:
            self.own_seconds += time.perf_counter() - entered


def measuring_tasks(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:  # noqa: ANN401
    """Task factory: tasks that a router starts are measured on its clock."""
    supervised = (options.get("context") or copy_context()).get(_current)
    if supervised is not None and asyncio.iscoroutine(coroutine):

        async def measured() -> Any:  # noqa: ANN401
            return await Driven(supervised, coroutine)

        return asyncio.Task(measured(), loop=loop, **options)
    return asyncio.Task(coroutine, loop=loop, **options)


def unmeasured(coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a task whose time is not the router's."""
    context = copy_context()
    context.run(_current.set, None)
    return asyncio.get_running_loop().create_task(coroutine, context=context)


async def act(supervised: Supervised) -> Any:  # noqa: ANN401 - what the router's coroutine returns
    """What the router returns. Its task is its own, so that a router that cancels itself cancels nothing else.

    Raises:
        EpisodeError: it, or a task that it began, raised what is no ``Exception``, or it was cancelled.
    """

    async def wait() -> Any:  # noqa: ANN401
        return await supervised

    task = unmeasured(wait())
    with supervised.watched():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:  # the run is over
            supervised.halted = True
            task.cancel()
            raise
    if task.cancelled():
        raise EpisodeError("CancelledError: the router cancelled itself, or waited for what was cancelled")
    answer = task.result()
    if supervised.exited is not None:
        raise supervised.exited
    return answer
