"""Back pressure: so many requests are answered at once, so many wait, and others are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from harness.serving.errors import busy


class Gate:
    """Counts requests.

    Args:
        running: Requests that are answered at once.
        waiting: Further requests that may wait.
    """

    def __init__(self, running: int, waiting: int) -> None:
        self.slots = asyncio.Semaphore(running)
        """Held by each request that is answered."""
        self._most = running + waiting
        self.inside = 0
        """Requests that are answered or wait."""

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let a request in until the block ends.

        Raises:
            ApiError: too many are inside.
        """
        if self.inside >= self._most:
            raise busy(f"{self.inside} requests are answered or wait")
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1
