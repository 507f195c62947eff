"""Key-value caches of sessions: bounded, and never dropped while their session runs."""

from __future__ import annotations

import torch

from harness.backends.packed import KVCache
from harness.backends.reading import Encoded
from harness.backends.session_caches import SessionCaches

PROMPT = Encoded([1, 2, 3, 4], (2, 4))


def fill(caches: SessionCaches, session: str) -> None:
    """Let the session read the prompt, into a cache of 400 bytes."""
    cache = caches.open(session, PROMPT, ("m", "m"))
    assert isinstance(cache, KVCache)
    cache.store = {0: (torch.zeros(50), torch.zeros(50))}
    cache.ids.extend(PROMPT.ids[len(cache.ids) :])


def test_the_least_recently_used_idle_caches_are_dropped() -> None:
    caches = SessionCaches(KVCache, max_bytes=1000)
    for session in ("a", "b", "c", "d", "e"):
        assert caches.make_room(session, running={"a"})
        fill(caches, session)
        assert caches.bytes <= 1200  # the bound, and what the newest cache has grown
    assert caches.dropped == 2
    assert caches.open("a", PROMPT, ("m", "m")).ids == [1, 2]  # the last turn is read for each answer
    assert caches.open("b", PROMPT, ("m", "m")).ids == []
    assert caches.open("e", PROMPT, ("m", "m")).ids == [1, 2]


def test_a_session_waits_where_running_sessions_fill_the_bound() -> None:
    caches = SessionCaches(KVCache, max_bytes=400)
    fill(caches, "a")
    assert not caches.make_room("b", running={"a"})
    assert caches.make_room("a", running={"a"})
    assert caches.dropped == 0
    assert caches.make_room("b", running=set())
    assert (caches.bytes, caches.dropped) == (0, 1)


def test_one_session_may_always_run() -> None:
    caches = SessionCaches(KVCache, max_bytes=0)
    assert caches.make_room("a", running=set())
    fill(caches, "a")
    caches.release("a")
    assert caches.bytes == 0
