"""Estimates for calls to an external engine: their shares of the device's time, and statistics of their tokens."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from harness.data import Token


class BusyClock:
    """Shares the time in which calls are in flight evenly among them: the shares of all calls add up to that time.

    Args:
        now: A clock, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._last = 0.0
        self._each = 0.0
        self._in_flight = 0

    def begin(self) -> float:
        """Start a call; its share is the difference between ``read`` at its end and the number returned."""
        found = self.read()
        self._in_flight += 1
        return found

    def end(self) -> None:
        """End a call."""
        self.read()
        self._in_flight -= 1

    def read(self) -> float:
        """Share, in seconds, of a call that was in flight from the first until now."""
        now = self._now()
        if self._in_flight:
            self._each += (now - self._last) / self._in_flight
        self._last = now
        return self._each


def token_from_top(number: int, logprob: float, top: Sequence[float]) -> Token:
    """A token's statistics from the log-probabilities of the likeliest tokens.

    The entropy counts all other tokens as one outcome, so it is a lower bound, near the truth where they are
    improbable.

    Args:
        number: Id of the token; -1 if it is unknown.
        logprob: Of the token, in nats.
        top: Of the likeliest tokens, in any order.
    """
    ordered = sorted((math.exp(value) for value in top), reverse=True) or [math.exp(logprob)]
    rest = max(0.0, 1.0 - math.fsum(ordered))
    entropy = -math.fsum(p * math.log(p) for p in (*ordered, rest) if p > 0)
    margin = ordered[0] - (ordered[1] if len(ordered) > 1 else rest)
    return Token(number, min(0.0, logprob), max(0.0, entropy), min(1.0, max(0.0, margin)))
