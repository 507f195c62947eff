"""Calls into plug-ins: what they raise becomes an error that names them, and never ends the process.

``SystemExit``, ``KeyboardInterrupt``, ``CancelledError`` and others that are no ``Exception`` are errors of the plug-in
that raised them. Ctrl-C is the user's: a handler of the signal notes it, so that the two are told apart.
"""

from __future__ import annotations

import signal
import sysconfig
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import dropwhile
from pathlib import Path
from types import FrameType
from typing import TypeVar

from harness.errors import EpisodeError, MixrouteError, PluginExited

T = TypeVar("T")

_NO_PLUGINS = (
    str(Path(__file__).parent),
    *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    "<",
)
"""Where files lie whose frames are not a plug-in's: ours, Python's, installed packages, and what has no file."""


class Blocked(BaseException):
    """Raised inside a plug-in that blocks the event loop. Not an ``Exception``: the plug-in must not catch it."""


class _Interrupts:
    """Handler of SIGINT that notes it. The second one raises, whatever is to be done at the first."""

    asked = False
    """Whether the user pressed Ctrl-C since the outermost block of ``interrupts_noted`` began."""

    def __init__(self, at_first: Callable[[], None] | None) -> None:
        self._at_first = at_first

    def __call__(self, number: int, frame: FrameType | None) -> None:
        first = not _Interrupts.asked
        _Interrupts.asked = True
        if not first or self._at_first is None:
            raise KeyboardInterrupt
        self._at_first()


@contextmanager
def interrupts_noted(at_first: Callable[[], None] | None = None) -> Iterator[None]:
    """Note Ctrl-C until the block ends. Does nothing outside of the main thread, or where the caller handles SIGINT.

    Args:
        at_first: What the first Ctrl-C does instead of raising ``KeyboardInterrupt``.
    """
    before = signal.getsignal(signal.SIGINT)
    nested = isinstance(before, _Interrupts)
    if threading.current_thread() is not threading.main_thread() or (
        before is not signal.default_int_handler and not nested
    ):
        yield
        return
    if not nested:
        _Interrupts.asked = False
    signal.signal(signal.SIGINT, _Interrupts(at_first))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def user_interrupted() -> bool:
    """Whether the user has pressed Ctrl-C, as far as that is noted here."""
    here = threading.current_thread() is threading.main_thread()
    return here and isinstance(signal.getsignal(signal.SIGINT), _Interrupts) and _Interrupts.asked


def is_users(error: BaseException) -> bool:
    """Whether ``error`` is the user's Ctrl-C and not a ``KeyboardInterrupt`` that a plug-in raised."""
    if not isinstance(error, KeyboardInterrupt):
        return False
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or handler is signal.SIG_IGN:
        return False  # signals are handled in the main thread only
    return _Interrupts.asked if isinstance(handler, _Interrupts) else True


def raise_users(error: BaseException) -> None:
    """Raise ``KeyboardInterrupt`` if ``error`` is the user's, or came of it, as where an import was interrupted."""
    if is_users(error) or user_interrupted():
        raise KeyboardInterrupt from error


def described(error: BaseException) -> str:
    """``error`` with its class; of a group with one error within, that one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, PluginExited):
        return str(error)
    try:
        return f"{type(error).__name__}: {error}".removesuffix(": ")
    except Exception:  # of its ``__str__``
        return type(error).__name__


def says_all(error: BaseException) -> bool:
    """Whether an error is ours, and says what is wrong and how to fix it, so that no traceback adds to it."""
    return isinstance(error, MixrouteError | EpisodeError) and not isinstance(error, PluginExited)


def located(error: BaseException) -> str:
    """``error`` as ``described``, with the place in the plug-in's own code where it was raised: file, line, function.

    Our own errors, which say what is wrong, stay as they are, and so does what no code of a plug-in raised.
    """
    own = [frame for frame in plugin_frames(error) if _is_plugin(frame)]
    if not own:
        return described(error)
    return f"{described(error)} ({Path(own[-1].filename).name}, line {own[-1].lineno}, in {own[-1].name})"


def plugin_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """The frames of ``error`` from the first of a plug-in's on; none where it is our own error."""
    raised = error.__cause__ if isinstance(error, PluginExited) and error.__cause__ else error
    frames = [] if says_all(raised) else list(traceback.extract_tb(raised.__traceback__))
    return list(dropwhile(lambda frame: not _is_plugin(frame), frames))


def _is_plugin(frame: traceback.FrameSummary) -> bool:
    return not frame.filename.startswith(_NO_PLUGINS)


def contained(call: Callable[[], T]) -> T:
    """The result of ``call``, which a plug-in answers.

    Raises:
        PluginExited: it raised what is no ``Exception``, or what ends an iteration.
    """
    try:
        return call()
    except (StopIteration, StopAsyncIteration) as error:
        raise PluginExited(described(error)) from error
    except (Exception, Blocked):
        raise
    except BaseException as error:
        if is_users(error):
            raise
        raise PluginExited(described(error)) from error


def call_plugin(who: str, method: str, call: Callable[[], T]) -> T:
    """The result of ``call``.

    Args:
        who: The plug-in, such as "router 'random'".
        method: What of it is called.
        call: Calls it, with all that its result is checked for.

    Raises:
        MixrouteError: it raised anything; the message names plug-in and method. A ``MixrouteError`` stays as it is.
    """
    with interrupts_noted():
        try:
            return call()
        except MixrouteError:
            raise
        except BaseException as error:
            raise_users(error)
            reason = " ".join(described(error).split())
            raise MixrouteError(f"{who} fails in '{method}': {reason}") from error
