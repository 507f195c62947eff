"""One thread a device, on which every model of that device runs its passes in turn."""

from __future__ import annotations

import atexit
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, Protocol


def aside(work: Callable[[], None]) -> None:
    """Do ``work`` on a thread that ends with it, for what computes before the worker does.

    A thread that has computed keeps a pool of OpenMP threads until it ends. While there are several pools, every
    parallel loop of the process waits the slow way.
    """
    with ThreadPoolExecutor(1, "mixroute-aside") as executor:
        executor.submit(work).result()


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
        self._device = device
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._engines: list[Engine] = []
        self._members = 0
        self._over = False
        self._thread = threading.Thread(target=self._loop, name=f"mixroute-{device}", daemon=True)
        self._thread.start()
        # A thread that is inside torch when the interpreter goes down aborts the process.
        atexit.register(self.stop)

    @classmethod
    def attach(cls, device: str, engine: Engine) -> DeviceWorker:
        """Let ``engine`` take part in the device's worker, which the first engine starts."""
        with cls._guard:
            worker = cls._workers.get(device) or cls(device)
            cls._workers[device] = worker
            worker._members += 1
        worker.do(lambda: worker._engines.append(engine))
        return worker

    def do(self, work: Callable[[], None]) -> None:
        """Run ``work`` on the worker's thread soon."""
        self._inbox.put(work)

    def detach(self, engine: Engine) -> None:
        """Leave the engine out from now on; waits until no pass of it runs. The last one out ends the thread (``aside``
        says why).
        """
        done = threading.Event()

        def take_out() -> None:
            self._engines.remove(engine)
            done.set()

        self.do(take_out)
        done.wait()
        with self._guard:
            self._members -= 1
            last = self._members == 0
            if last:
                del self._workers[self._device]
        if last:
            self.stop()
            atexit.unregister(self.stop)

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
