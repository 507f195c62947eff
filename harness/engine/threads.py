"""Threads for calls that may never return: the end of the process does not wait for them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any

_Work = tuple["Future[Any]", Callable[[], Any]]


class DaemonThreads(ThreadPoolExecutor):
    """Pool of as many threads as there are calls at once; an event loop takes it as its default executor."""

    def __init__(self) -> None:
        super().__init__(max_workers=1)
        self._free: list[SimpleQueue[_Work]] = []
        os.register_at_fork(after_in_child=self._free.clear)  # threads do not survive a fork

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401 - as in the base class
        """Call ``fn`` on a thread."""
        future: Future[Any] = Future()
        try:
            inbox = self._free.pop()
        except IndexError:
            inbox = SimpleQueue()
            threading.Thread(target=self._serve, args=(inbox,), name="mixroute-call", daemon=True).start()
        inbox.put((future, partial(fn, *args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: the threads serve every loop of the process."""

    def _serve(self, inbox: SimpleQueue[_Work]) -> None:
        while True:
            future, call = inbox.get()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:  # the caller's, as in the base class
                    future.set_exception(error)
            del future, call
            self._free.append(inbox)


DAEMON_THREADS = DaemonThreads()
