"""Key-value caches of the sessions of a model, or of models that share them, within a bound."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection

from harness.backends.reading import Encoded
from harness.backends.sequences import TokenCache


class SessionCaches:
    """Key-value caches by session. Those of idle sessions are dropped, least recently used first, when all of them
    together outgrow the bound.

    Args:
        new: Makes the cache of a new session.
        max_bytes: The bound. The caches of running sessions are never dropped, so they may exceed it by what they grow.
    """

    def __init__(self, new: Callable[[], TokenCache], max_bytes: int) -> None:
        self._new = new
        self._max_bytes = max_bytes
        self._caches: OrderedDict[str, TokenCache] = OrderedDict()
        self.dropped = 0
        """Caches that were dropped to make room."""

    @property
    def bytes(self) -> int:
        """Bytes of all caches."""
        return sum(cache.bytes for cache in self._caches.values())

    def make_room(self, session: str, running: Collection[str]) -> bool:
        """Whether ``session`` may have a cache now; drops caches of sessions that are not in ``running`` for it."""
        if session in self._caches:
            return True
        held = self.bytes
        for idle in [key for key in self._caches if key not in running]:
            if held < self._max_bytes:
                break
            held -= self._caches.pop(idle).bytes
            self.dropped += 1
        return held < self._max_bytes or not running

    def open(self, session: str, prompt: Encoded, readers: tuple[str, ...]) -> TokenCache:
        """The session's cache, or a new one, cropped to the turns of ``prompt`` that it holds as ``readers`` read them.

        Args:
            session: The session.
            prompt: The prompt that is to be read into it.
            readers: Name of the model that reads each turn of the prompt.
        """
        if session not in self._caches:
            self._caches[session] = self._new()
        cache = self._caches[session]
        goes_on = cache.last_position is not None and cache.ids == prompt.ids and cache.readers == readers
        if not goes_on or prompt.reply_from is not None:
            shared = prompt.shared_turns(Encoded(cache.ids, cache.boundaries))
            pairs = zip(cache.readers[:shared], readers, strict=False)
            cache.crop(prompt.length_of(next((turn for turn, (a, b) in enumerate(pairs) if a != b), shared)))
        cache.boundaries, cache.readers = prompt.boundaries, readers
        self._caches.move_to_end(session)
        return cache

    def release(self, session: str) -> None:
        """Free the session's cache."""
        self._caches.pop(session, None)
