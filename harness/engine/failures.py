"""Tracebacks of what ended episodes, in the log: each place of a plug-in's code once."""

from __future__ import annotations

import logging
import traceback

from harness.guard import located, plugin_frames

log = logging.getLogger(__name__)

_MOST = 10
"""Tracebacks of a run; the traces hold the errors of all episodes."""


class FailureLog:
    """Logs each failure of a run once, with its traceback."""

    def __init__(self) -> None:
        self._known: set[tuple[str, int | None]] = set()

    def log(self, error: BaseException, where: str) -> None:
        """Log what ended an episode, unless no code of a plug-in raised it or the same place has failed before.

        Args:
            error: What was raised.
            where: The instance, and the step.
        """
        frames = plugin_frames(error)
        if not frames or len(self._known) == _MOST:
            return
        place = frames[-1].filename, frames[-1].lineno
        if place not in self._known:
            self._known.add(place)
            text = "".join(traceback.format_list(frames)).rstrip()
            log.warning("%s ended in an error: %s\n%s", where, located(error), text)
