"""A watchdog over plug-ins: routers, environments and models that keep a run from going on.

Time counts as far as the watchdog is on time itself: what it oversleeps, because the process was stopped or the machine
is busy, counts as two of its periods at most.
"""

from __future__ import annotations

import asyncio
import ctypes
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from harness.errors import PluginExited, RunStopped
from harness.guard import Blocked

if TYPE_CHECKING:
    from harness.engine.supervision import Supervised

T = TypeVar("T")

_WHILE_OTHERS_ASK = 0.1
"""Share of a router's idle time that counts while models answer other episodes, whose calls it may be waiting for."""


BUSY = "kept the event loop busy"


class RouterStopped(RunStopped):
    """A router broke its contract."""


class Occupant:
    """A plug-in's code that takes its turns on the event loop, which it may not keep.

    Args:
        watchdog: The run's.
        who: Names it in messages.
        setting: Name of its time limit in the suite.
        limit: Seconds that it may keep the loop.
        fatal: The error that stops the run when it exceeds them; None if that ends the episode only.
    """

    def __init__(
        self, watchdog: Watchdog, who: str, setting: str, limit: float, fatal: type[RunStopped] | None = None
    ) -> None:
        self.watchdog = watchdog
        self.who = who
        self.setting = setting
        self.limit = limit
        self.fatal = fatal
        self.spent = 0.0
        """Seconds that it was seen on the loop; a router's since its last question or answer."""
        self.exited: PluginExited | None = None
        """What it raised that is no ``Exception``, also in a task that it began."""
        self._halted = False

    @property
    def halted(self) -> bool:
        """Whether it may not go on."""
        return self._halted or self.watchdog.closed

    @halted.setter
    def halted(self, value: bool) -> None:
        self._halted = value

    def too_long(self, what: str) -> str:
        """The message for one that did ``what`` for longer than its limit."""
        return f"{self.who} {what} for {self.limit:g} s: fix it, or raise {self.setting} in the suite"

    def occupy(self, call: Callable[[], T]) -> T:
        """Call on the event loop.

        Raises:
            Blocked: it takes longer than the limit.
        """
        return self.watchdog.occupied(self, call)


class Watchdog:
    """Stops what exceeds its time limit, for one run on one event loop.

    A plug-in that blocks the loop cannot be cancelled by the loop, so a thread raises an exception inside it, and only
    there. (One that hangs inside a C extension escapes this: the exception waits for the next Python instruction.)

    Args:
        router_limit: Seconds that a router may spend on a step from one question to the next.
        environment_limit: Seconds that a call into an environment may take, and that a model may answer nothing.
        models: Names of the models.
    """

    def __init__(self, router_limit: float, environment_limit: float, models: Mapping[str, object]) -> None:
        self.router_limit = router_limit
        self.environment_limit = environment_limit
        self.closed = False
        self.failure: asyncio.Future[RunStopped] = asyncio.get_running_loop().create_future()
        """Resolved once with what stops the run."""
        self.routers: set[Supervised] = set()
        self.calls: dict[Occupant, asyncio.Future[None]] = {}
        """Calls into environments that run on threads, with what is resolved when one is too late."""
        self._asked = dict.fromkeys(models, 0)
        self._quiet = dict.fromkeys(models, 0.0)
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._inside: Occupant | None = None
        self._raised = False
        self._loop_thread = threading.get_ident()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._watch, name="mixroute-watchdog", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching. Routers' coroutines that are left do not go on."""
        self.closed = True
        self._over.set()
        self._thread.join()

    def fail(self, error: RunStopped) -> None:
        """Stop the run."""
        if not self.failure.done():
            self.failure.set_result(error)

    def asked(self, model: str) -> None:
        """Note a call to a model."""
        if not self._asked[model]:
            self._quiet[model] = 0.0
        self._asked[model] += 1

    def answered(self, model: str) -> None:
        """Note that a call to a model has ended."""
        self._asked[model] -= 1
        self._quiet[model] = 0.0

    def occupied(self, occupant: Occupant, call: Callable[[], T]) -> T:
        """See ``Occupant.occupy``."""
        before = self._inside
        try:
            try:
                self._inside = occupant
                return call()
            finally:
                self._vacate(before)
        except Blocked:  # it may have come between the lines of the first
            self._vacate(before)
            if occupant.fatal is not None:
                self.fail(occupant.fatal(occupant.too_long(BUSY)))
            raise

    def _vacate(self, before: Occupant | None) -> None:
        with self._lock:
            self._inside = before
            late, self._raised = self._raised, False
            if late:
                self._let_it_arrive()
        if late:
            raise Blocked

    def _let_it_arrive(self) -> None:
        """Take an exception of the watchdog here, on the loop's thread, so that it cannot hit other code.

        Whether the one that was raised has arrived cannot be asked. To take it back would leave CPython's note that one
        is pending, with which 3.11 spins for ever in threads that have a trace function. So another one replaces it.
        """
        with suppress(Blocked):
            self._raise_on_loop()
            while True:
                pass

    def _raise_on_loop(self) -> None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._loop_thread), ctypes.py_object(Blocked))

    def _watch(self) -> None:
        period = min(1.0, min(self.router_limit, self.environment_limit) / 4)
        last = last_tick = time.monotonic()
        ticked = True  # at most one tick in a round of the loop, in which everyone who can go on has had a turn

        def tick() -> None:
            nonlocal last_tick, ticked
            ticked = True
            seconds = min(time.monotonic() - last_tick, period)  # a late tick: something kept the loop busy
            last_tick = time.monotonic()
            self._count(seconds)

        while not self._over.wait(period):
            now = time.monotonic()
            seconds, last = min(now - last, 2 * period), now
            with self._lock:
                if (inside := self._inside) is not None:
                    inside.spent += seconds
                    if inside.spent > inside.limit:
                        inside.spent = 0.0
                        self._raised = True
                        self._raise_on_loop()
            if ticked and not self._loop.is_closed():
                ticked = False
                self._loop.call_soon_threadsafe(tick)

    def _count(self, seconds: float) -> None:
        """Count time on the loop's thread for those that wait."""
        share = _WHILE_OTHERS_ASK if any(self._asked.values()) else 1.0
        for router in list(self.routers):
            if not router.waits_for_model:
                router.idle += seconds * share
                if router.idle > router.limit:
                    self.fail(RouterStopped(router.too_long("neither returned nor called a model")))
        for occupant, late in list(self.calls.items()):
            occupant.spent += seconds
            if occupant.spent > occupant.limit and not late.done():
                late.set_result(None)
        for model, count in self._asked.items():
            self._quiet[model] += seconds if count else 0.0
            if self._quiet[model] > self.environment_limit:
                limit = f"{self.environment_limit:g} s: see to its backend, or raise environment_timeout in the suite"
                self.fail(RunStopped(f"model '{model}' has answered nothing for {limit}"))
