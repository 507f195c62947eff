"""Continuous batching: calls join and leave a model's batch at every pass.

A pass holds one decode token of each running call, and what calls that arrived have not read. In deterministic mode a
prompt is read turn by turn, a pass each, whichever models answered before and whatever caches were dropped: the answer
is then a function of the prompt, to the last bit. Else all that is unread goes into one pass.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import torch
from transformers import PreTrainedTokenizerBase

from harness.backends.decoding import content_length, cut_at_stop, decode, pick_token
from harness.backends.encoding import Encoded
from harness.backends.packed import Chunk, End, KVCache, PackedModel
from harness.data import Completion, FinishReason, Request, Timing, Token
from harness.errors import EpisodeError

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class Call:
    """A request on its way.

    ``cached`` are the leading tokens that the session's calls have read before. They may have to be read again, after
    their cache was dropped or where answers came from a store; the ledger says nothing of that.
    """

    request: Request
    prompt: Encoded
    cached: int
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Completion]
    submitted: float
    cache: KVCache = field(default_factory=KVCache)
    tokens: list[Token] = field(default_factory=list)
    generator: torch.Generator | None = None
    started: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0

    def pending(self, *, by_turn: bool) -> list[int]:
        """Tokens that the next pass must run: what is unread of the prompt, then each new token."""
        if self.tokens:
            return [self.tokens[-1].id]
        held = len(self.cache.ids)
        end = next(border for border in self.prompt.borders if border > held) if by_turn else None
        return self.prompt.ids[held:end]

    @property
    def reading(self) -> bool:
        """Whether some of the prompt is unread."""
        return len(self.cache.ids) < len(self.prompt.ids)

    def charge(self, seconds: float, start: int, end: int) -> None:
        """Add the call's share of a pass over its tokens ``start`` to ``end``; what is read again is free."""
        if self.tokens:
            self.decode += seconds
        else:
            self.prefill += seconds * max(0, end - max(start, self.cached)) / (end - start)


class ContinuousBatching:
    """Schedules the calls of one model. All methods run on the device worker's thread.

    Caches of idle sessions are dropped, least recently used first, when they outgrow ``kv_cache_bytes``.
    """

    def __init__(
        self,
        name: str,
        model: PackedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_batch: int,
        max_rows: int,
        kv_cache_bytes: int,
    ) -> None:
        self._name = name
        self._model = model
        self.by_turn = model.deterministic
        self._tokenizer = tokenizer
        self._max_batch = 1 if model.isolated else max_batch
        self._max_rows = max_rows
        self._kv_cache_bytes = kv_cache_bytes
        self._waiting: deque[Call] = deque()
        self._running: list[Call] = []
        self._caches: OrderedDict[str, KVCache] = OrderedDict()
        self._warned: set[str] = set()
        ends = model.model.generation_config.eos_token_id if model.model.generation_config else None
        self._ends = set(ends if isinstance(ends, list) else [ends]) - {None} | {tokenizer.eos_token_id}

    def submit(self, call: Call) -> None:
        """Queue a call."""
        self._waiting.append(call)

    def cancel(self, call: Call) -> None:
        """Forget a call; nobody waits for its answer."""
        if call in self._waiting:
            self._waiting.remove(call)
        if call in self._running:
            self._running.remove(call)

    def release(self, session: str) -> None:
        """Free a session's cache."""
        self._caches.pop(session, None)

    def busy(self) -> bool:
        """Whether calls wait or run."""
        return bool(self._waiting or self._running)

    def run_pass(self) -> None:
        """Admit what fits, run one forward pass, hand out what is finished."""
        self._admit()
        passed: list[tuple[Call, list[int]]] = []
        rows = 0
        for call in list(self._running):
            if call.cache.end is not None and not call.reading:
                self._guarded(call, partial(self._at_end, call, call.cache.end))
        for call in self._running:
            ids = call.pending(by_turn=self.by_turn)
            if not passed or rows + len(ids) <= self._max_rows:
                passed.append((call, ids))
                rows += len(ids)
        if not passed:
            return
        began = time.perf_counter()
        try:
            ends = self._model.forward([Chunk(call.cache, ids) for call, ids in passed])
        except Exception as error:  # it must not end the thread that all models run on
            self._recover([call for call, _ in passed], error)
            return
        seconds = (time.perf_counter() - began) / rows
        for (call, ids), end in zip(passed, ends, strict=True):
            length = len(call.cache.ids)
            call.charge(seconds * len(ids), length - len(ids), length)
            if not call.reading:
                self._guarded(call, partial(self._at_end, call, end))

    def _guarded(self, call: Call, work: Callable[[], T]) -> T | None:
        """Do ``work`` for a call; a failure is that call's alone."""
        try:
            return work()
        except Exception as error:
            self._fail(call, error)
            return None

    def _admit(self) -> None:
        busy = {call.request.session for call in self._running}
        for call in list(self._waiting):
            session = call.request.session
            if len(self._running) >= self._max_batch:
                return
            if session in busy or not self._has_room(session):
                continue
            cache = self._caches.setdefault(session, KVCache())
            if cache.end is None or cache.ids != call.prompt.ids:
                cache.crop(call.prompt.read_before(Encoded(cache.ids, cache.borders)))
            cache.borders = call.prompt.borders
            call.cache = cache
            self._caches.move_to_end(session)
            call.started = time.perf_counter()
            self._waiting.remove(call)
            self._running.append(call)
            busy.add(session)

    def _has_room(self, session: str) -> bool:
        """Whether the session may have a cache now; makes room for it."""
        if session in self._caches:
            return True
        held = sum(cache.bytes for cache in self._caches.values())
        running = {call.request.session for call in self._running}
        for idle in [key for key in self._caches if key not in running]:
            if held < self._kv_cache_bytes:
                break
            held -= self._caches.pop(idle).bytes
            self._warn("its caches outgrew kv_cache_mb, so prompts are read again: lower --concurrency, or raise it")
        return held < self._kv_cache_bytes or not self._running

    def _at_end(self, call: Call, end: End) -> None:
        """All that is known was read: pick the next token, or hand out the state if only that was asked for."""
        request = call.request
        if request.max_tokens == 0:
            call.cache.end = End(end.logits.clone(), end.state)  # not a row of all that the pass computed
            self._finish(call, "", [], "length", tuple(end.state.tolist()))
            return
        call.cache.end = None
        if request.temperature > 0 and call.generator is None:
            call.generator = torch.Generator().manual_seed(request.seed)
        call.tokens.append(pick_token(end.logits, request.temperature, call.generator))
        ids = [token.id for token in call.tokens]
        ended = ids[-1] in self._ends
        text = decode(self._tokenizer, ids[:-1] if ended else ids)
        cut = cut_at_stop(text, request.stop)
        if cut is None and not ended and len(ids) < request.max_tokens:
            return
        self._finish(call, text if cut is None else cut, ids, "length" if cut is None and not ended else "stop", ())

    def _finish(self, call: Call, text: str, ids: list[int], finish: FinishReason, state: tuple[float, ...]) -> None:
        now = time.perf_counter()
        completion = Completion(
            model=self._name,
            text=text,
            tokens=tuple(call.tokens),
            content_tokens=content_length(self._tokenizer, ids, text),
            finish=finish,
            prompt_tokens=len(call.prompt.ids),
            cached_tokens=call.cached,
            timing=Timing(call.started - call.submitted, call.prefill, call.decode, now - call.submitted),
            state=state,
        )
        self._running.remove(call)
        _deliver(call, lambda: call.future.set_result(completion))

    def _recover(self, batch: list[Call], error: Exception) -> None:
        """Out of memory: half the batch, again. Anything else, or a batch of one, is the calls' error."""
        if _out_of_memory(error) and len(batch) > 1:
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._max_batch = len(batch) // 2
            for call in reversed(batch[self._max_batch :]):
                self._running.remove(call)
                self._requeue(call)
            self._warn(f"it ran out of memory: batch cut to {self._max_batch}")
            return
        for call in batch:
            self._fail(call, error)

    def _fail(self, call: Call, error: Exception) -> None:
        self.cancel(call)
        failure = EpisodeError(f"model '{self._name}' failed: {' '.join(str(error).split())[:300]}")
        _deliver(call, partial(call.future.set_exception, failure))

    def _requeue(self, call: Call) -> None:
        """Start a call over: what it decoded is decoded again, and comes out the same."""
        call.tokens.clear()
        call.generator = None
        self._waiting.appendleft(call)

    def _warn(self, message: str) -> None:
        """Say it once a kind."""
        kind = message.split(":")[0]
        if kind not in self._warned:
            self._warned.add(kind)
            log.warning("model '%s': %s", self._name, message)


def _out_of_memory(error: Exception) -> bool:
    message = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        words in message for words in ("out of memory", "can't allocate memory", "not enough memory")
    )


def _deliver(call: Call, settle: Callable[[], None]) -> None:
    """Settle the call's future on its own loop, if anybody still waits."""

    def settle_if_open() -> None:
        if not call.future.done():
            settle()

    with suppress(RuntimeError):  # the loop is closed: its run was interrupted
        call.loop.call_soon_threadsafe(settle_if_open)
