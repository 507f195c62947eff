"""What can be said of a call whose computing is not seen: its share of the device's time, its tokens' statistics."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from harness.data import Token


class BusyClock:
    """Shares the time in which calls are in flight evenly among them: the shares of all calls add up to that time.

    Args:
        now: Tells the seconds.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._last = 0.0
        self._each = 0.0
        self._flying = 0

    def begin(self) -> float:
        """A call takes off; its share is the difference of ``read`` to what this returns."""
        found = self.read()
        self._flying += 1
        return found

    def end(self) -> None:
        """A call has landed."""
        self.read()
        self._flying -= 1

    def read(self) -> float:
        """Seconds that a call which has flown all along would have been given until now."""
        now = self._now()
        if self._flying:
            self._each += (now - self._last) / self._flying
        self._last = now
        return self._each


def token_from_top(number: int, logprob: float, top: Sequence[float]) -> Token:
    """A token's statistics from the log-probabilities of the likeliest tokens.

    The entropy takes all others for one outcome, so it is a lower bound; exact where they are improbable.

    Args:
        number: Id of the token; -1 if it was not told.
        logprob: Of the token, in nats.
        top: Of the likeliest tokens, in any order.
    """
    ordered = sorted((math.exp(value) for value in top), reverse=True) or [math.exp(logprob)]
    rest = max(0.0, 1.0 - math.fsum(ordered))
    entropy = -math.fsum(p * math.log(p) for p in (*ordered, rest) if p > 0)
    margin = ordered[0] - (ordered[1] if len(ordered) > 1 else rest)
    return Token(number, min(0.0, logprob), max(0.0, entropy), min(1.0, max(0.0, margin)))
