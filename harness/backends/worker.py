"""One thread a device, on which every model of that device runs its passes in turn."""

from __future__ import annotations

import atexit
import queue
import threading
from collections.abc import Callable
from typing import ClassVar, Protocol


class Engine(Protocol):
    """What the worker drives: a model with calls waiting or running."""

    def busy(self) -> bool:
        """Whether a pass would do something."""
        ...

    def run_pass(self) -> None:
        """One forward pass over whatever is ready. Must not raise."""
        ...


class DeviceWorker:
    """Runs the passes of all engines of one device, round robin, in one thread.

    A device computes one thing at a time; two threads would only fight over its cores. Work handed in through ``do``
    runs on the same thread between passes, so engines need no locks.
    """

    _workers: ClassVar[dict[str, DeviceWorker]] = {}
    _guard: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, device: str) -> None:
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._engines: list[Engine] = []
        self._over = False
        self._thread = threading.Thread(target=self._loop, name=f"mixroute-{device}", daemon=True)
        self._thread.start()
        # A thread that is inside torch when the interpreter goes down aborts the process.
        atexit.register(self.stop)

    @classmethod
    def of(cls, device: str) -> DeviceWorker:
        """The worker of a device, started at its first use."""
        with cls._guard:
            if device not in cls._workers:
                cls._workers[device] = cls(device)
            return cls._workers[device]

    def do(self, work: Callable[[], None]) -> None:
        """Run ``work`` on the worker's thread soon."""
        self._inbox.put(work)

    def add(self, engine: Engine) -> None:
        """Let the engine take part."""
        self.do(lambda: self._engines.append(engine))

    def remove(self, engine: Engine) -> None:
        """Leave the engine out from now on; waits until no pass of it runs."""
        done = threading.Event()

        def take_out() -> None:
            if engine in self._engines:
                self._engines.remove(engine)
            done.set()

        self.do(take_out)
        done.wait()

    def stop(self) -> None:
        """End the thread after the pass that it is in."""

        def end() -> None:
            self._over = True

        self.do(end)
        self._thread.join()

    def _loop(self) -> None:
        while not self._over:
            busy = [engine for engine in self._engines if engine.busy()]
            self._take_in(wait=not busy)
            for engine in busy:
                engine.run_pass()
                self._take_in(wait=False)

    def _take_in(self, *, wait: bool) -> None:
        while True:
            try:
                work = self._inbox.get(block=wait)
            except queue.Empty:
                return
            work()
            wait = False
