"""One thread a device, on which every model of that device runs its passes in turn."""

from __future__ import annotations

import atexit
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ClassVar, Protocol, TypeVar

T = TypeVar("T")


def run_in_short_lived_thread(work: Callable[[], None]) -> None:
    """Run ``work``, which computes before the worker does, on a thread that ends with it.

    A thread that has computed keeps a pool of OpenMP threads until it ends. While there are several pools, all parallel
    loops of the process synchronise slowly.
    """
    with ThreadPoolExecutor(1, "mixroute-short-lived") as executor:
        executor.submit(work).result()


class Engine(Protocol):
    """A model with calls waiting or running, whose passes the worker runs."""

    def busy(self) -> bool:
        """Whether a pass would do something."""
        ...

    def run_pass(self) -> None:
        """Run one forward pass over all calls that are ready. Must not raise."""
        ...


class DeviceWorker:
    """Runs the passes of all engines of one device, round robin, in one thread.

    A device computes one thing at a time, and two threads would compete for its cores. Work that is given to ``do``
    runs on the same thread between passes, so engines need no locks.
    """

    _workers: ClassVar[dict[str, DeviceWorker]] = {}
    _guard: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, device: str) -> None:
        self._device = device
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._engines: list[Engine] = []
        self._members = 0
        self._stopped = False
        self._thread = threading.Thread(target=self._loop, name=f"mixroute-{device}", daemon=True)
        self._thread.start()
        # A thread that is inside torch when the interpreter exits aborts the process.
        atexit.register(self.stop)

    @classmethod
    def attach(cls, device: str, engine: Engine) -> DeviceWorker:
        """Add ``engine`` to the device's worker, which the first engine starts."""
        with cls._guard:
            worker = cls._workers.get(device) or cls(device)
            cls._workers[device] = worker
            worker._members += 1
        worker.do(lambda: worker._engines.append(engine))
        return worker

    def do(self, work: Callable[[], None]) -> None:
        """Run ``work`` on the worker's thread soon."""
        self._inbox.put(work)

    def run(self, work: Callable[[], T]) -> Future[T]:
        """Run ``work`` on the worker's thread soon; the future has what it returns or raises."""
        done: Future[T] = Future()

        def settle() -> None:
            if not done.set_running_or_notify_cancel():
                return
            try:
                outcome = work()
            except Exception as error:  # it must not end the thread that all models run on
                done.set_exception(error)
            else:
                done.set_result(outcome)

        self.do(settle)
        return done

    def detach(self, engine: Engine) -> None:
        """Remove the engine; waits until no pass of it runs. The last engine ends the thread, for the reason given in
        ``run_in_short_lived_thread``.
        """
        self.run(lambda: self._engines.remove(engine)).result()
        with self._guard:
            self._members -= 1
            last = self._members == 0
            if last:
                del self._workers[self._device]
        if last:
            self.stop()
            atexit.unregister(self.stop)

    def stop(self) -> None:
        """End the thread after its current pass."""

        def end() -> None:
            self._stopped = True

        self.do(end)
        self._thread.join()

    def _loop(self) -> None:
        while not self._stopped:
            busy = [engine for engine in self._engines if engine.busy()]
            self._drain_inbox(wait=not busy)
            for engine in busy:
                engine.run_pass()
                self._drain_inbox(wait=False)

    def _drain_inbox(self, *, wait: bool) -> None:
        while True:
            try:
                work = self._inbox.get(block=wait)
            except queue.Empty:
                return
            work()
            wait = False
