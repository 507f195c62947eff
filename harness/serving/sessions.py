"""Sessions: the requests of one conversation, which are one episode."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from harness.data import Completion, Instance, Observation
from harness.engine.episode import LiveEpisode, StepResult
from harness.guard import described
from harness.serving.conversations import Conversation, LastReply, PrefixIndex
from harness.serving.errors import ApiError, busy
from harness.serving.offers import Offer
from harness.serving.recording import EndedSession
from harness.text import quoted

log = logging.getLogger(__name__)

_LARGEST = 8 << 20
"""Bytes of a session's record after which the conversation goes on in another one."""


@dataclass(slots=True, eq=False)
class Session:
    """An open session."""

    offer: Offer
    key: str
    """What clients call it."""
    live: LiveEpisode
    by_header: bool
    """Whether its client names it; else it is known by its conversation."""
    used: float
    """When its last request ended."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the request that is answered."""
    users: int = 0
    """Requests that hold the lock or wait for it."""
    last_reply: LastReply | None = None
    asked: Observation = field(default=Observation(""))
    """What the last request has added to the conversation."""
    spent: list[Completion] = field(default_factory=list)
    """Calls of requests that failed since the last answer: they belong to the step that is asked for again."""
    spent_seconds: float = 0.0
    """Router's own time in them."""
    failure: str = ""
    """What the last of them ended in."""
    size: int = 0
    """Bytes of its steps on disk."""
    closed: bool = False

    @property
    def scope(self) -> str:
        """Sessions of another scope do not go on from one another; empty before the first answer."""
        return "" if self.last_reply is None else _scope(self.offer, self.last_reply.conversation)

    def ended(self, score: float | None = None, *, success: bool = False) -> EndedSession | None:
        """The session as it is to be recorded; None where no model was asked.

        Args:
            score: As its client judges it, if it does.
            success: Likewise.
        """
        live, error = self.live, None
        if self.spent:
            live.record_step(self.asked, self.spent, StepResult(), {}, self.spent_seconds)
            self.spent, error = [], None if score is not None else self.failure
        live.done = True
        return EndedSession(live, score, success, error) if live.steps else None


def _scope(offer: Offer, conversation: Conversation) -> str:
    return f"{offer.name} {conversation.kind}"


R = TypeVar("R")


class Sessions(Generic[R]):
    """The open sessions of a server. They leave by age, and the oldest when there are too many.

    Args:
        most: Most open sessions.
        names: Instances that are recorded already, by offered model: a session of the same key has another name.
        on_close: Told of each session that is over; what it returns is what ``close`` returns.
    """

    def __init__(
        self, most: int, names: Mapping[str, Iterable[str]], on_close: Callable[[Session, EndedSession | None], R]
    ) -> None:
        self._most = most
        self._names = {offer: set(known) for offer, known in names.items()}
        self._on_close = on_close
        self._open: dict[tuple[str, str], Session] = {}
        """In order of their last use."""
        self._known: PrefixIndex[Session] = PrefixIndex()

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, offer: Offer, key: str | None, conversation: Conversation) -> Session:
        """The session of a request, opened if there is none; ``leave`` gives it back.

        Args:
            offer: The model that is asked.
            key: What the client calls the session; None to find it by its conversation.
            conversation: What is to be continued.

        Raises:
            ApiError: there are too many sessions, all of them in use.
        """
        scope = _scope(offer, conversation)
        found = self._known.longest(scope, conversation.text) if key is None else self._open.get((offer.name, key))
        if found is not None and found.size > _LARGEST and not found.users:
            self.close(found)
            found = None
        session = found or self._begin(offer, key, f"{conversation.kind} {conversation.text}")
        self._known.remove(session)  # no other request goes on from here
        session.users += 1
        return session

    def leave(self, session: Session) -> None:
        """Give a session back, whatever has become of the request."""
        session.users -= 1
        session.used = time.monotonic()
        if session.closed or session.users:
            return
        self._open[session.offer.name, session.key] = self._open.pop((session.offer.name, session.key))
        if session.by_header:
            return
        if session.last_reply is None:  # nobody could go on from it
            self.close(session)
        else:
            self._known.add(session, session.scope, session.last_reply.conversation.after(session.last_reply.reply))

    def find(self, key: str, offer: Offer | None) -> Session:
        """The session that clients call ``key``.

        Args:
            key: The name.
            offer: What it asks; None for whatever it is.

        Raises:
            ApiError: there is none, or several models have one.
        """
        found = [one for (_, name), one in self._open.items() if name == key and offer in (None, one.offer)]
        if not found:
            raise ApiError(
                404, f"there is no open session {quoted(key)}", parameter="session", code="session_not_found"
            )
        if len(found) > 1:
            models = ", ".join(one.offer.name for one in found)
            raise ApiError(
                400, f"models {models} have a session {quoted(key)}: say which in 'model'", parameter="model"
            )
        return found[0]

    def close(self, session: Session, score: float | None = None, *, success: bool = False) -> R:
        """End a session.

        Args:
            session: The session, of which no request is being answered.
            score: As its client judges it, if it does.
            success: Likewise.
        """
        session.closed = True
        self._known.remove(session)
        del self._open[session.offer.name, session.key]
        if error := session.offer.play.release(session.live.instance):
            log.warning("session %s: its caches cannot be freed: %s", session.key, described(error))
        ended = session.ended(score, success=success)
        if ended is None:
            self._names[session.offer.name].discard(session.live.instance.id)
        return self._on_close(session, ended)

    def close_unused(self, since: float) -> None:
        """End the sessions that were not used since then."""
        for session in list(self._open.values()):
            if not session.users and session.used <= since:
                self.close(session)

    def _begin(self, offer: Offer, key: str | None, text: str) -> Session:
        if len(self._open) >= self._most:
            unused = next((one for one in self._open.values() if not one.users), None)
            if unused is None:
                raise busy(f"all of {self._most} sessions are in use")
            self.close(unused)
        base = key or f"c{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        name = self._new_name(offer, base, is_key=key is None)
        session = Session(offer, key or name, LiveEpisode(Instance(name)), key is not None, time.monotonic())
        self._open[offer.name, session.key] = session
        return session

    def _new_name(self, offer: Offer, base: str, *, is_key: bool) -> str:
        """A name that no session of the model has had: ``base``, else ``base~2`` and so on."""
        taken = self._names[offer.name]
        name, number = base, 1
        while name in taken or (is_key and (offer.name, name) in self._open):
            number += 1
            name = f"{base}~{number}"
        taken.add(name)
        return name
