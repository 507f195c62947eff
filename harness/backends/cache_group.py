"""Models that share the key-value caches of their sessions; a model that shares with none is a group of its own.

Who reads which turn is decided when a call arrives, from the order of the session's calls alone. A cache holds exactly
that: where it does not (it was dropped, or completions came from the completion cache), each model reads its turns once
more. So the keys and values that an answer rests on are a function of the prompt and of who read each of its turns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping

from harness.backends.call import Call
from harness.backends.reading import Encoded, Reading
from harness.backends.sequences import SequenceModel
from harness.backends.session_caches import SessionCaches


class CacheGroup:
    """The models of a group and the caches of their sessions.

    ``plan`` and ``forget`` run where calls are made, all else on the device worker's thread.

    Args:
        models: The models, by name.
        identities: What the keys and values of each depend on, by name.
        max_bytes: Bound of the caches; see ``SessionCaches``.
        reread: Turns before the last one that a model must have read itself; see ``Reading.after``.
    """

    def __init__(
        self, models: Mapping[str, SequenceModel], identities: Mapping[str, str], max_bytes: int, reread: int = 0
    ) -> None:
        self.models = dict(models)
        self.max_bytes = max_bytes
        self._identities = dict(identities)
        self._reread = reread
        self._read: dict[str, Reading] = {}
        self.caches = SessionCaches(next(iter(models.values())).new_cache, max_bytes)
        self._calls: dict[str, deque[Call]] = {}
        """Calls of each session that are not finished, in the order in which they were made."""
        self._begun: set[str] = set()
        """Sessions of which a call runs, whichever model it went to."""

    def plan(self, session: str, model: str, prompt: Encoded, *, only_read: bool) -> tuple[tuple[str, ...], int]:
        """Note a call; returns who reads each turn of its prompt, and how many tokens it need not read.

        Args:
            session: Its session.
            model: Name of the model that is asked.
            prompt: What it is asked.
            only_read: Whether it is to write nothing.
        """
        before = self._read.get(session, Reading())
        after, cached = before.after(model, prompt, only_read=only_read, reread=self._reread)
        self._read[session] = after
        return after.readers, cached

    def other_readers(self, model: str, readers: Collection[str]) -> list[str]:
        """What the keys and values that ``model`` finds depend on beside itself, by turn; empty if all are its own."""
        identities = [self._identities[reader] for reader in readers]
        return identities if set(identities) != {self._identities[model]} else []

    def forget(self, session: str) -> None:
        """Forget what was read of a session that is over."""
        self._read.pop(session, None)

    def add(self, call: Call) -> None:
        """Queue a call behind those that its session has not finished."""
        self._calls.setdefault(call.request.session, deque()).append(call)

    def begin(self, call: Call) -> bool:
        """Give a call its session's cache, if it is the session's turn and there is room for it."""
        session = call.request.session
        if session in self._begun or self._calls[session][0] is not call:
            return False
        if not self.caches.make_room(session, self._begun):
            return False
        self._begun.add(session)
        call.cache = self.caches.open(session, call.prompt, call.readers)
        return True

    def pause(self, call: Call) -> None:
        """Take back ``begin``; the call keeps its place."""
        self._begun.discard(call.request.session)

    def end(self, call: Call) -> None:
        """Let the session's next call begin."""
        session = call.request.session
        calls = self._calls.get(session, deque())
        if call not in calls:
            return
        if calls[0] is call:
            self._begun.discard(session)
        calls.remove(call)
        if not calls:
            del self._calls[session]
