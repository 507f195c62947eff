"""Conversations as clients send them: what models read, and how a conversation is known by its beginning."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, Protocol, TypeVar

import msgspec

from harness.data import Message, Prompt


@dataclass(frozen=True, slots=True)
class LastReply:
    """The last reply of a session, and what it replied to."""

    conversation: Conversation
    prompt: Prompt
    reply: str
    stop: tuple[str, ...]


class Conversation(Protocol):
    """What a request asks to be continued."""

    @property
    def kind(self) -> str:
        """Keeps conversations of the two interfaces apart."""
        ...

    @property
    def text(self) -> str:
        """The whole conversation: that of a later request begins with it, and with ``after`` what was replied."""
        ...

    def after(self, reply: str) -> str:
        """``text`` with a reply."""
        ...

    def prompt(self, last_reply: LastReply | None) -> Prompt:
        """What models read, after the last reply of the session."""
        ...


@dataclass(frozen=True)
class Chat:
    """Messages of ``/v1/chat/completions``."""

    messages: tuple[Message, ...]
    kind = "chat"

    @cached_property
    def text(self) -> str:
        """A line of JSON a message, so that none can be taken for another."""
        return "".join(map(_line, self.messages))

    def after(self, reply: str) -> str:
        """See ``Conversation``."""
        return self.text + _line(Message("assistant", reply))

    def prompt(self, last_reply: LastReply | None) -> Prompt:
        """See ``Conversation``. The messages alone count: each is a turn."""
        return Prompt(self.messages, "chat")


def _line(message: Message) -> str:
    # Agents tend to strip what a model wrote before they send it back.
    content = message.content.strip() if message.role == "assistant" else message.content
    return msgspec.json.encode([message.role, content]).decode() + "\n"


@dataclass(frozen=True, slots=True)
class Text:
    """A prompt of ``/v1/completions``."""

    text: str
    kind = "text"

    def after(self, reply: str) -> str:
        """See ``Conversation``."""
        return self.text + reply

    def prompt(self, last_reply: LastReply | None) -> Prompt:
        """See ``Conversation``. What goes on from the last reply is cut into turns as by a scaffold of format
        ``plain``: the stop string that ended a reply belongs to it.
        """
        known = "" if last_reply is None else last_reply.conversation.after(last_reply.reply)
        if last_reply is None or last_reply.prompt.format != "plain" or not self.text.startswith(known):
            return Prompt((Message("user", self.text),), "plain")
        rest = self.text[len(known) :]
        stops = [stop for stop in last_reply.stop if rest.startswith(stop)]
        closing = max(stops, key=len, default="")
        rest = rest[len(closing) :]
        turns = [*last_reply.prompt.messages, Message("assistant", last_reply.reply + closing)]
        return Prompt((*turns, Message("user", rest)) if rest else tuple(turns), "plain")


def observed(prompt: Prompt) -> str:
    """What the client has added since the last reply, without what the system says."""
    added: list[str] = []
    for message in reversed(prompt.messages):
        if message.role == "assistant":
            break
        if message.role == "user":
            added.append(message.content)
    return "\n".join(reversed(added))


S = TypeVar("S")


class PrefixIndex(Generic[S]):
    """Sessions by the conversation that they stand at. Of the texts only hashes are kept."""

    def __init__(self) -> None:
        self._sessions: dict[bytes, list[S]] = {}
        self._places: dict[int, tuple[S, str, int, bytes]] = {}
        self._lengths: dict[str, Counter[int]] = {}

    def add(self, session: S, scope: str, text: str) -> None:
        """Let a session be found by the conversations that begin with ``text``.

        Args:
            session: The session, which is not known yet.
            scope: Conversations of another scope do not find it.
            text: What it stands at.
        """
        digest = _hash(scope, text).digest()
        self._places[id(session)] = session, scope, len(text), digest
        self._sessions.setdefault(digest, []).append(session)
        self._lengths.setdefault(scope, Counter())[len(text)] += 1

    def remove(self, session: S) -> None:
        """Forget a session, if it is known."""
        if id(session) not in self._places:
            return
        _, scope, length, digest = self._places.pop(id(session))
        self._sessions[digest].remove(session)
        if not self._sessions[digest]:
            del self._sessions[digest]
        lengths = self._lengths[scope]
        lengths[length] -= 1
        if not lengths[length]:
            del lengths[length]

    def longest(self, scope: str, text: str) -> S | None:
        """A session that stands at the longest known beginning of ``text``, the oldest of several; None without one.

        Sessions that stand at one text cannot be told apart, so that it makes no difference which of them goes on.
        """
        found, done = None, 0
        running = _hash(scope, "")
        for length in sorted(self._lengths.get(scope, ())):
            if length > len(text):
                break
            running.update(text[done:length].encode())
            done = length
            found = self._sessions.get(running.digest(), found)
        return found[0] if found else None


def _hash(scope: str, text: str) -> hashlib._Hash:
    return hashlib.sha256(f"{len(scope)} {scope}{text}".encode())
