"""Calls into plug-ins: what they raise becomes an error that names them, and never ends the process.

``SystemExit``, ``KeyboardInterrupt``, ``CancelledError`` and others that are no ``Exception`` are errors of the plug-in
that raised them. Ctrl-C is the user's: a handler of the signal notes it, so that the two are told apart.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from harness.errors import MixrouteError, PluginExited

T = TypeVar("T")


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
