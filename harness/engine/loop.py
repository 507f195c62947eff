"""Running a coroutine to its end, also where an event loop runs already, and whatever plug-ins do to the loop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from harness.errors import RunStopped
from harness.guard import described, interrupts_noted, is_users, user_interrupted

T = TypeVar("T")

log = logging.getLogger(__name__)

_PATIENCE = 10.0
"""Seconds that tasks of plug-ins have to end after the run."""

_Started = tuple[asyncio.AbstractEventLoop, "asyncio.Task[Any]"]


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end as ``asyncio.run`` does; inside a running loop, as that of a notebook, in a thread.

    Ctrl-C cancels the work, and ``KeyboardInterrupt`` is raised when it has ended; a second one is raised at once.

    Raises:
        RunStopped: a plug-in stopped the loop, cancelled the work, or raised what is no ``Exception`` outside of the
            engine's calls.
    """
    started: Future[_Started] = Future()

    def cancel() -> None:
        if not started.done():
            raise KeyboardInterrupt
        loop, task = started.result()
        loop.call_soon_threadsafe(task.cancel)

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        with interrupts_noted(cancel):
            result = _run(work, started)
            if user_interrupted():
                raise KeyboardInterrupt from None
            return result

    with ThreadPoolExecutor(1) as thread:
        ran = thread.submit(_run, work, started)
        try:
            return ran.result()
        except KeyboardInterrupt:
            cancel()
            raise


def _run(work: Coroutine[Any, Any, T], started: Future[_Started]) -> T:
    async def main() -> T:
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None  # noqa: S101 - asyncio.run makes one
        loop.set_exception_handler(_log_in_one_line)
        started.set_result((loop, task))
        return await work

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main())
    except Exception as error:
        if isinstance(error, RuntimeError) and "Event loop stopped before Future completed" in str(error):
            raise RunStopped("a plug-in stopped the event loop: no plug-in may") from error
        raise
    except BaseException as error:
        if is_users(error):
            raise
        if user_interrupted():
            raise KeyboardInterrupt from error
        raise RunStopped(f"a plug-in ended the run: {described(error)}") from error
    finally:
        # Not ``asyncio.run``, which waits for ever for a task that does not let itself be cancelled.
        _end_tasks(loop)
        asyncio.set_event_loop(None)
        loop.close()


def _end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel the tasks that are left and wait for their ends, whatever callbacks of plug-ins raise meanwhile."""
    end = time.monotonic() + _PATIENCE
    while (left := asyncio.all_tasks(loop)) and time.monotonic() < end:
        for task in left:
            task.cancel()
        try:
            loop.run_until_complete(asyncio.wait(left, timeout=_PATIENCE / 4))
        except BaseException as error:
            if is_users(error):
                raise
    with suppress(Exception):
        loop.run_until_complete(loop.shutdown_asyncgens())


def _log_in_one_line(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What tasks and callbacks raise that nobody waits for, such as those that a router began."""
    error = context.get("exception")
    log.warning("%s%s", context["message"], f": {described(error)}" if error is not None else "")
