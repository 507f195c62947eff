"""Continuous batching: calls join and leave a model's batch at every pass.

A pass holds one decode token of each running call, and the unread part of the prompts of calls that arrived. In
deterministic mode a prompt is read turn by turn, a pass each, whichever models answered before and whatever caches were
dropped: the answer is then a function of the prompt, and of who read which turn where models share a cache, to the last
bit. Else all that is unread goes into one pass.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial

import torch
from transformers import PreTrainedTokenizerBase

from harness.backends.cache_group import CacheGroup
from harness.backends.call import Call
from harness.backends.decoding import (
    cut_at_stop,
    decode,
    end_tokens,
    ended_by_special,
    every_token_end,
    pick_token,
    token_ends,
)
from harness.backends.memory import out_of_memory
from harness.backends.reading import Encoded
from harness.backends.sequences import Chunk, LastPosition, SequenceModel
from harness.backends.worker import DeviceWorker
from harness.data import Completion, FinishReason, Request, Timing
from harness.errors import EpisodeError
from harness.text import one_line

log = logging.getLogger(__name__)


class ContinuousBatching:
    """Schedules the calls of one model. All methods run on the device worker's thread.

    Args:
        name: Of the model in its pool.
        model: What computes.
        tokenizer: The model's.
        max_batch: Most calls in one pass.
        max_rows: Most tokens in one pass (a single longer prompt still runs whole).
        group: The key-value caches of the sessions, and the models that share them, ``model`` among them.
    """

    def __init__(
        self,
        name: str,
        model: SequenceModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_batch: int,
        max_rows: int,
        group: CacheGroup,
    ) -> None:
        self._name = name
        self.by_turn = model.deterministic
        self._tokenizer = tokenizer
        self._max_batch = 1 if model.isolated else max_batch
        self._max_rows = max_rows
        self._waiting: deque[Call] = deque()
        self._running: list[Call] = []
        self.group = group
        """Set before the first call, if at all."""
        self._warned: set[str] = set()
        self._ends = end_tokens(model.model, tokenizer)

    def submit(self, call: Call) -> None:
        """Queue a call."""
        self._waiting.append(call)
        self.group.add(call)

    def cancel(self, call: Call) -> None:
        """Forget a call; nobody waits for its completion."""
        if call in self._waiting:
            self._waiting.remove(call)
        if call in self._running:
            self._running.remove(call)
        self.group.end(call)

    def release(self, session: str) -> None:
        """Free a session's cache."""
        self.group.caches.release(session)

    def busy(self) -> bool:
        """Whether calls wait or run."""
        return bool(self._waiting or self._running)

    def run_pass(self) -> None:
        """Admit the calls that fit, run one forward pass, deliver the calls that are finished.

        Turns that another model of the group has read, and whose keys and values were dropped, it reads in passes of
        its own.
        """
        self._admit()
        passes: dict[str, list[tuple[Call, list[int]]]] = {}
        rows = 0
        for call in list(self._running):
            if call.cache.last_position is not None and not call.reading:
                self._guarded(call, partial(self._advance, call, call.cache.last_position))
        for call in self._running:
            reader, ids = call.pending(by_turn=self.by_turn)
            if not passes or rows + len(ids) <= self._max_rows:
                passes.setdefault(reader, []).append((call, ids))
                rows += len(ids)
        for reader, passed in passes.items():
            model = self.group.models[reader]
            for part in [[one] for one in passed] if model.isolated else [passed]:
                self._pass(model, part)

    def _pass(self, model: SequenceModel, passed: list[tuple[Call, list[int]]]) -> None:
        began = time.perf_counter()
        try:
            chunks = [Chunk(call.cache, ids, earlier=call.judged_before_last(len(ids))) for call, ids in passed]
            last_positions = model.forward(chunks)
        except Exception as error:  # it must not end the thread that all models run on
            self._recover([call for call, _ in passed], error)
            return
        seconds = (time.perf_counter() - began) / sum(len(ids) for _, ids in passed)
        for (call, ids), last_position in zip(passed, last_positions, strict=True):
            length = len(call.cache.ids)
            call.charge(seconds * len(ids), length - len(ids), length)
            self._guarded(call, partial(self._after_pass, call, last_position))

    def _after_pass(self, call: Call, last_position: LastPosition) -> None:
        call.judge(last_position)
        if not call.reading:
            self._advance(call, last_position)

    def _guarded(self, call: Call, work: Callable[[], None]) -> None:
        """Do ``work`` for a call; a failure is that call's alone."""
        try:
            work()
        except Exception as error:
            self._fail(call, error)

    def _admit(self) -> None:
        for call in list(self._waiting):
            if len(self._running) >= self._max_batch:
                break
            if not self.group.begin(call):
                continue
            call.started = time.perf_counter()
            self._waiting.remove(call)
            self._running.append(call)
        if self.group.caches.dropped:
            self._warn("its caches outgrew kv_cache_mb, so prompts are read again: lower --concurrency, or raise it")

    def _advance(self, call: Call, last_position: LastPosition) -> None:
        """Pick the next token of a call whose tokens are all read; deliver the state if only that was asked for."""
        request = call.request
        if request.max_tokens == 0:
            # A copy: a view would keep the logits of the whole pass alive.
            call.cache.last_position = LastPosition(last_position.logits.clone(), last_position.state)
            self._finish(call, "", [], "length", tuple(last_position.state.tolist()))
            return
        call.cache.last_position = None
        if request.temperature > 0 and call.generator is None:
            call.generator = torch.Generator().manual_seed(request.seed)
        call.tokens.append(pick_token(last_position.logits, request.temperature, call.generator))
        ids = [token.id for token in call.tokens]
        ended = ids[-1] in self._ends
        text = decode(self._tokenizer, ids[:-1] if ended else ids)
        cut = cut_at_stop(text, request.stop)
        if cut is None and ended_by_special(self._tokenizer, ids, request.stop):
            cut = text
        if cut is None and not ended and len(ids) < request.max_tokens:
            return
        self._finish(call, text if cut is None else cut, ids, "length" if cut is None and not ended else "stop", ())

    def _finish(self, call: Call, text: str, ids: list[int], finish: FinishReason, state: tuple[float, ...]) -> None:
        now = time.perf_counter()
        ends = token_ends(self._tokenizer, ids, text)
        begun, reply = call.prompt.reply_from, call.request.continue_from
        read_ends = () if begun is None else every_token_end(self._tokenizer, call.prompt.ids[begun:], reply)
        completion = Completion(
            model=self._name,
            text=text,
            tokens=tuple(call.tokens),
            content_tokens=len(ends),
            finish=finish,
            prompt_tokens=len(call.prompt.ids),
            cached_tokens=call.cached,
            timing=Timing(call.started - call.submitted, call.prefill, call.decode, now - call.submitted),
            state=state,
            read=tuple(call.judged),
            read_ends=read_ends,
            token_ends=ends,
        )
        self.cancel(call)
        call.finish(completion)

    def _recover(self, batch: list[Call], error: Exception) -> None:
        """Retry half the batch where memory ran out. Any other error, or that of a batch of one, fails the calls."""
        if out_of_memory(error) and len(batch) > 1:
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._max_batch = len(batch) // 2
            for call in reversed(batch[self._max_batch :]):
                self._running.remove(call)
                call.restart()
                self.group.pause(call)
                self._waiting.appendleft(call)
            self._warn(f"it ran out of memory: batch cut to {self._max_batch}")
            return
        for call in batch:
            self._fail(call, error)

    def _fail(self, call: Call, error: Exception) -> None:
        self.cancel(call)
        call.finish(EpisodeError(f"model '{self._name}' failed: {one_line(error)}"))

    def _warn(self, message: str) -> None:
        """Log a message, once a kind."""
        kind = message.split(":")[0]
        if kind not in self._warned:
            self._warned.add(kind)
            log.warning("model '%s': %s", self._name, message)


async def answer(
    worker: DeviceWorker,
    engine: ContinuousBatching,
    request: Request,
    prompt: Encoded,
    readers: tuple[str, ...],
    cached: int,
) -> Completion:
    """The completion of a request, computed on the device; a caller that is cancelled takes its call back.

    Args:
        worker: Runs the engine.
        engine: The model's.
        request: What is asked.
        prompt: Its prompt.
        readers: See ``Call``.
        cached: See ``Call``.
    """
    loop = asyncio.get_running_loop()
    call = Call(request, prompt, readers, cached, loop, loop.create_future(), submitted=time.perf_counter())
    worker.do(lambda: engine.submit(call))
    try:
        return await call.future
    except asyncio.CancelledError:
        worker.do(lambda: engine.cancel(call))
        raise
