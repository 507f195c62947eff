"""Backend ``transformers``: any causal language model of Hugging Face, on CPU or CUDA."""

from __future__ import annotations

import asyncio
import gc
import time
from dataclasses import replace

from harness.backends.completion_cache import answer_key
from harness.backends.continuous import Call, ContinuousBatching
from harness.backends.encoding import NOTHING, Encoded, Encoder
from harness.backends.loading import TransformersOptions, load_model, model_card
from harness.backends.memory import keep_freed_memory, return_freed_memory
from harness.backends.packed import PackedModel
from harness.backends.worker import DeviceWorker, aside
from harness.config import check
from harness.contracts import CompletionStore
from harness.data import Completion, ModelCard, Request
from harness.errors import EpisodeError
from harness.pool import ModelSpec


class TransformersBackend:
    """One model, batched across episodes, with a key-value cache per episode.

    Raises:
        MixrouteError: wrong options, or weights that cannot be read.
    """

    def __init__(self, name: str, spec: ModelSpec, *, deterministic: bool) -> None:
        options = check(spec.options, TransformersOptions, f"options of model '{name}'")
        self._answers: CompletionStore | None = None
        self._read: dict[str, tuple[Encoded, bool]] = {}
        """What each session has read last, and whether it stopped there."""
        keep_freed_memory()
        aside(lambda: self._load(name, spec, options, deterministic))
        self._worker = DeviceWorker.attach(self._card.details["device"], self._engine)

    def _load(self, name: str, spec: ModelSpec, options: TransformersOptions, deterministic: bool) -> None:
        model, tokenizer = load_model(name, spec, options)
        self._card = model_card(name, model, spec, options)
        self._encoder = Encoder(tokenizer)
        self._context = int(getattr(model.config.get_text_config(), "max_position_embeddings", 1 << 30))
        self._engine = ContinuousBatching(
            name,
            PackedModel(model, deterministic=deterministic),
            tokenizer,
            max_batch=options.max_batch,
            max_rows=options.max_rows,
            kv_cache_bytes=options.kv_cache_mb << 20,
        )

    async def generate(self, request: Request) -> Completion:
        """Answer one request; see ``harness.contracts.Backend``."""
        prompt = self._encoder.encode(request.prompt, request.continue_from)
        if not prompt.ids:
            raise EpisodeError("the prompt is empty")
        if len(prompt.ids) + request.max_tokens > self._context:
            raise EpisodeError(f"a prompt of {len(prompt.ids)} tokens leaves no room in a context of {self._context}")
        before, at_its_end = self._read.get(request.session, (NOTHING, False))
        cached = len(prompt.ids) if at_its_end and before.ids == prompt.ids else prompt.read_before(before)
        self._read[request.session] = (prompt, request.max_tokens == 0)
        if self._answers is None or request.temperature > 0:
            return await self._compute(request, prompt, cached)
        question = [self._engine.by_turn, prompt.ids, prompt.borders, request.stop, request.max_tokens]
        key = answer_key(self._card.fingerprint, question)
        answer = await self._answers.get_or_compute(key, lambda: self._compute(request, prompt, cached))
        return replace(answer, model=self._card.model, cached_tokens=cached)

    async def _compute(self, request: Request, prompt: Encoded, cached: int) -> Completion:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Completion] = loop.create_future()
        call = Call(request, prompt, cached, loop, future, submitted=time.perf_counter())
        self._worker.do(lambda: self._engine.submit(call))
        try:
            return await future
        except asyncio.CancelledError:
            self._worker.do(lambda: self._engine.cancel(call))
            raise

    def use_cache(self, store: CompletionStore) -> None:
        """Keep greedy answers; see ``harness.contracts.SupportsCompletionCache``."""
        self._answers = store

    def release(self, session: str) -> None:
        """Free the session's cache."""
        self._read.pop(session, None)
        self._worker.do(lambda: self._engine.release(session))

    def card(self) -> ModelCard:
        """Facts about the loaded model."""
        return self._card

    def close(self) -> None:
        """Free the weights."""
        self._worker.detach(self._engine)
        del self._engine
        gc.collect()
        return_freed_memory()
