"""A request on its way through continuous batching."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile

import torch

from harness.backends.decoding import score_token
from harness.backends.reading import Encoded
from harness.backends.sequences import LastPosition, NoCache, TokenCache
from harness.data import Completion, Request, Token
from harness.errors import EpisodeError


@dataclass(eq=False, slots=True)
class Call:
    """A request, what was computed of it so far, and the seconds that this took."""

    request: Request
    prompt: Encoded
    readers: tuple[str, ...]
    """Name of the model that reads each turn of the prompt; see ``CacheGroup``."""
    cached: int
    """Leading tokens that the session's calls have read before. Where their cache was dropped, or their completions
    came from the completion cache, they are read once more at no charge."""
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Completion]
    submitted: float
    cache: TokenCache = field(default_factory=NoCache)
    tokens: list[Token] = field(default_factory=list)
    judged: list[Token] = field(default_factory=list)
    """The tokens of a reply that is only read, as far as they were."""
    generator: torch.Generator | None = None
    started: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0

    def pending(self, *, by_turn: bool) -> tuple[str, list[int]]:
        """Who runs the next pass, and over which tokens: the unread part of the prompt, then each new token.

        Args:
            by_turn: Whether a pass ends with the turn, instead of with the turns that one model reads.
        """
        if self.tokens:
            return self.readers[-1], [self.tokens[-1].id]
        held = len(self.cache.ids)
        unread = [(end, who) for end, who in zip(self.prompt.boundaries, self.readers, strict=True) if end > held]
        own = list(takewhile(lambda turn: turn[1] == unread[0][1], unread))
        return unread[0][1], self.prompt.ids[held : own[0 if by_turn else -1][0]]

    @property
    def reading(self) -> bool:
        """Whether some of the prompt is unread."""
        return len(self.cache.ids) < len(self.prompt.ids)

    def charge(self, seconds: float, start: int, end: int) -> None:
        """Add the call's share of a pass over its tokens ``start`` to ``end``; tokens that were cached are free."""
        if self.tokens:
            self.decode += seconds
        else:
            self.prefill += seconds * max(0, end - max(start, self.cached)) / (end - start)

    def judged_before_last(self, count: int) -> int:
        """Of how many positions before the last one of a pass over the next ``count`` tokens logits are wanted: those
        at which a token of the reply follows.
        """
        begun, held = self.prompt.reply_from, len(self.cache.ids)
        return 0 if begun is None else max(0, held + count - 1 - max(held, begun - 1))

    def judge(self, last: LastPosition) -> None:
        """Add the tokens of the reply that follow the positions of the pass that has just ended."""
        begun, ids, end = self.prompt.reply_from, self.prompt.ids, len(self.cache.ids)
        if begun is None or end < begun:
            return
        first = end - len(last.earlier)
        for logits, token in zip((*last.earlier, last.logits), ids[first : end + 1], strict=False):
            self.judged.append(score_token(logits, token).token)

    def restart(self) -> None:
        """Forget the decoded tokens: they are decoded once more and come out the same; a reply is read once more."""
        self.tokens.clear()
        self.judged.clear()
        self.generator = None

    def finish(self, outcome: Completion | EpisodeError) -> None:
        """Settle the call's future on its own loop, if its caller still waits."""

        def settle() -> None:
            if self.future.done():
                return
            if isinstance(outcome, Completion):
                self.future.set_result(outcome)
            else:
                self.future.set_exception(outcome)

        with suppress(RuntimeError):  # the loop is closed: its run was interrupted
            self.loop.call_soon_threadsafe(settle)
