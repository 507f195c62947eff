"""A process of its own for work on data that is not trusted: no network, no other programs, limited memory and time.

Nothing that an entry names is run, so the limits are a second wall: they hold where a parser has a fault.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir

from harness.errors import MixrouteError

MEMORY = 6 << 30
"""Bytes that the work may allocate beside what the process had before."""
SECONDS = 1200
"""CPU seconds that the work may take; twice as many on the clock. A published entry takes 1 to 60."""
MOST_RESULT = 1 << 24
"""Bytes of its result."""

_REFUSED = (
    *("socket.connect", "socket.bind", "socket.send", "socket.get"),  # asyncio makes a pair of sockets, no more
    *("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork"),
)
"""Beginnings of Python's audit events that the work may not raise."""


class WorkEnded(MixrouteError):
    """The work ended before it had a result."""


def in_own_process(work: Callable[[], bytes]) -> bytes:
    """The result of ``work``, which runs in a fork of this process, within the limits of this module.

    Raises:
        WorkEnded: it raised, was killed, or reached a limit; the message says which.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _work_and_exit(work, writing)
    os.close(writing)
    try:
        content = _read_all(reading, time.monotonic() + 2 * SECONDS)
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
    if content[:1] == b"+":
        return content[1:]
    if content[:1] == b"-":
        raise WorkEnded(content[1:].decode(errors="replace"))
    ended = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit code {os.WEXITSTATUS(status)}"
    raise WorkEnded(f"it ended with {ended}: it takes more than {MEMORY >> 30} GiB or {SECONDS} s, or crashed")


def _work_and_exit(work: Callable[[], bytes], writing: int) -> None:
    try:
        _limit()
        content = b"+" + work()
        if len(content) > MOST_RESULT:
            content = b"-the result is too long"
    except BaseException as error:  # whatever it is, the parent says it
        content = f"-{type(error).__name__}: {str(error)[:500]}".encode(errors="replace")
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(writing, view) :]
        os.close(writing)
        signal.pause()  # the parent kills this process: no handler of the parent's state runs here
    finally:
        os._exit(1)


def _limit() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if _HAS_PROC else 0
    if used:
        _lower(resource.RLIMIT_AS, used + MEMORY)
    spent = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
    _lower(resource.RLIMIT_CPU, spent + SECONDS)
    _lower(resource.RLIMIT_CORE, 0)
    writable = Path(gettempdir()).resolve()

    def guard(event: str, arguments: tuple[object, ...]) -> None:
        if event.startswith(_REFUSED) or (event == "open" and _writes(arguments, writable)):
            raise PermissionError(f"verification of an entry may not do this: {event} {arguments[:1]}")

    sys.addaudithook(guard)


_HAS_PROC = Path("/proc/self/statm").exists()


def _lower(kind: int, limit: int) -> None:
    _, hard = resource.getrlimit(kind)
    most = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(kind, (most, most))


def _writes(arguments: tuple[object, ...], writable: Path) -> bool:
    """Whether the arguments of the audit event ``open`` open a file for writing outside of ``writable``."""
    path, _, flags = arguments
    if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
        return False
    if not isinstance(path, str | bytes | os.PathLike):
        return False  # an open file of this process
    name = os.fsdecode(path)
    return name != os.devnull and not Path(name).resolve().is_relative_to(writable)


def _read_all(reading: int, deadline: float) -> bytes:
    """What comes until the writer closes the pipe; what came so far at the deadline."""
    parts: list[bytes] = []
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([reading], [], [], left)[0]:
            break
        part = os.read(reading, 1 << 16)
        if not part:
            break
        parts.append(part)
    return b"".join(parts)
