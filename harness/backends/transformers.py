"""Backend ``transformers``: any causal language model of Hugging Face, on CPU or CUDA."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from harness.backends.cache_group import CacheGroup
from harness.backends.choosing import choose_way, config_hash
from harness.backends.completion_cache import completion_key
from harness.backends.continuous import ContinuousBatching, answer
from harness.backends.encoding import Encoder
from harness.backends.loading import TransformersOptions, context_length, held_as, load_model, unreadable
from harness.backends.memory import freed_memory_returned, return_freed_memory
from harness.backends.model_card import model_card
from harness.backends.scoring import Scorer
from harness.backends.self_test import make
from harness.backends.sharing import SharingModel, check_can_share
from harness.backends.worker import DeviceWorker, run_in_short_lived_thread
from harness.config import check
from harness.contracts import Backend, BackendTraits, CompletionStore
from harness.data import Completion, GivenAnswer, MemoryEstimate, ModelCard, Prompt, Request, ScoredToken
from harness.errors import MixrouteError
from harness.pool import ModelSpec
from harness.weights.size import GIB, size_of


class TransformersBackend(BackendTraits):
    """One model, batched across episodes, with a key-value cache per episode.

    Raises:
        MixrouteError: wrong options, or weights that cannot be read.
    """

    supports_random_weights = True

    @classmethod
    def estimate_memory(cls, shape: str | None, options: Mapping[str, Any]) -> MemoryEstimate | None:
        """Weights as they are held while the model runs, and ``kv_cache_mb``; see ``BackendTraits``."""
        if shape is None:
            return None
        checked = check(dict(options), TransformersOptions, "options")
        weights = size_of(shape).weight_bytes(held_as(shape, checked), getattr(torch, checked.dtype).itemsize)
        return MemoryEstimate(weights / GIB, checked.kv_cache_mb / 1024)

    def __init__(self, name: str, spec: ModelSpec, *, deterministic: bool) -> None:
        options = check(spec.options, TransformersOptions, f"options of model '{name}'")
        self._completions: CompletionStore | None = None
        with freed_memory_returned():
            run_in_short_lived_thread(lambda: self._load(name, spec, options, deterministic))
            gc.collect()
        self._worker = DeviceWorker.attach(self._card.details["device"], self._engine)

    def _load(self, name: str, spec: ModelSpec, options: TransformersOptions, deterministic: bool) -> None:
        model, tokenizer = load_model(name, spec, options)
        try:
            self._prepare(name, spec, options, model, tokenizer, deterministic)
        except MixrouteError:
            raise
        except Exception as error:  # of transformers, for an architecture that nobody has tried
            raise unreadable(name, str(model.name_or_path), error) from error

    def _prepare(
        self,
        name: str,
        spec: ModelSpec,
        options: TransformersOptions,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        deterministic: bool,
    ) -> None:
        self._card = model_card(name, model, spec, options)
        self._config_hash = config_hash(model)
        self._encoder = Encoder(tokenizer)
        self._context = context_length(model)
        choice = choose_way(name, model, tokenizer, self._card.fingerprint)
        runs = make(model, choice, deterministic=deterministic)
        self._scorer = Scorer(runs, tokenizer, self._encoder, max_rows=options.max_rows, context=self._context)
        self._sharing = SharingModel(name, runs, tokenizer, self._encoder)
        self._identity = f"{self._card.fingerprint} {self._config_hash}"
        self._group = CacheGroup({name: runs}, {name: self._identity}, options.kv_cache_mb << 20)
        self._engine = ContinuousBatching(
            name, runs, tokenizer, max_batch=options.max_batch, max_rows=options.max_rows, group=self._group
        )

    async def generate(self, request: Request) -> Completion:
        """Answer one request; see ``harness.contracts.Backend``."""
        prompt = self._encoder.encode_request(request, self._context)
        name = self._card.model
        readers, cached = self._group.plan(request.session, name, prompt, only_read=request.max_tokens == 0)
        compute = partial(answer, self._worker, self._engine, request, prompt, readers, cached)
        if self._completions is None or request.temperature > 0:
            return await compute()
        asked = [prompt.ids, prompt.boundaries, request.stop, request.max_tokens]
        question = [self._config_hash, self._engine.by_turn, *asked]
        if prompt.reply_from is not None:
            question.append({"reply_from": prompt.reply_from})
        if others := self._group.other_readers(name, readers):
            question.append(others)
        key = completion_key(type(self), self._card.fingerprint, question)
        completion = await self._completions.get_or_compute(key, compute)
        return replace(completion, model=name, cached_tokens=cached)

    async def score(self, answers: Sequence[tuple[Request, GivenAnswer]]) -> list[tuple[ScoredToken, ...] | None]:
        """Score given answers, in as few passes as they fit in; see ``harness.contracts.SupportsScoring``."""
        scored: list[tuple[ScoredToken, ...] | None] = [None] * len(answers)
        for given in self._scorer.passes(answers):
            scoring = self._worker.run(partial(self._scorer.score, given))
            for place, tokens in (await asyncio.wrap_future(scoring)).items():
                scored[place] = tokens
        return scored

    def check_prompt(self, prompt: Prompt, max_tokens: int) -> None:
        """Check that a prompt can be rendered and leaves room; see ``harness.contracts.ChecksPrompts``."""
        self._encoder.encode_request(Request("", prompt, max_tokens=max_tokens), self._context)

    def prompt_notes(self, prompt: Prompt) -> Mapping[str, str]:
        """What is done to such prompts beside rendering them, the clock that templates are told included.

        See ``harness.contracts.DescribesPrompts``.
        """
        return self._encoder.notes(prompt)

    def use_cache(self, store: CompletionStore) -> None:
        """Reuse greedy completions; see ``harness.contracts.SupportsCompletionCache``."""
        self._completions = store

    def share_cache(self, others: Mapping[str, Backend], reread: int) -> None:
        """Share caches with other models of this backend; see ``harness.contracts.SharesCache``."""
        members = [self]
        for name, other in others.items():
            if not isinstance(other, TransformersBackend):
                raise MixrouteError(
                    f"kv_cache.shared: models '{self._card.model}' and '{name}' cannot share a cache: they have other "
                    "backends; take one of them out of the list, or delete kv_cache"
                )
            members.append(other)
        self._worker.run(lambda: check_can_share([one._sharing for one in members])).result()
        names = [one._card.model for one in members]
        group = CacheGroup(
            {name: one._sharing.model for name, one in zip(names, members, strict=True)},
            {name: one._identity for name, one in zip(names, members, strict=True)},
            sum(one._group.max_bytes for one in members),
            reread,
        )
        for one in members:
            one._group = one._engine.group = group

    def release(self, session: str) -> None:
        """Free the session's cache."""
        self._group.forget(session)
        self._worker.do(lambda: self._engine.release(session))

    def card(self) -> ModelCard:
        """Facts about the loaded model."""
        return self._card

    def close(self) -> None:
        """Free the weights."""
        self._worker.detach(self._engine)
        del self._engine, self._scorer, self._group, self._sharing
        gc.collect()
        return_freed_memory()
