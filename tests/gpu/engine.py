"""Backend ``transformers`` around a model that is in memory, without what reads checkpoints and options.

Those need pydantic, msgspec and compressed-tensors; what runs models needs none of them.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from harness.backends.cache_group import CacheGroup
from harness.backends.continuous import ContinuousBatching, answer
from harness.backends.encoding import Encoder
from harness.backends.scoring import Scorer
from harness.backends.self_test import Choice, make
from harness.backends.worker import DeviceWorker
from harness.data import Completion, GivenAnswer, Request, ScoredToken

NOT_TESTED = Choice("packed", "", isolated=False, least_rows=1, why="", compared="")
"""For throughput mode, in which the packed way needs to know nothing more."""


class Engine:
    """A model with a session's key-value cache each, like ``TransformersBackend``.

    Args:
        name: Of the model.
        model: The model, loaded.
        tokenizer: Its tokenizer.
        choice: How it is run, as the self-test found.
        deterministic: See ``SequenceModel``.
        options: ``max_batch``, ``max_rows`` and ``kv_cache_mb`` of the backend.
    """

    def __init__(
        self,
        name: str,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        choice: Choice = NOT_TESTED,
        *,
        deterministic: bool = False,
        **options: int,
    ) -> None:
        self.options = {"max_batch": 32, "max_rows": 1024, "kv_cache_mb": 1024, **options}
        config: Any = model.config
        self._context = int(config.max_position_embeddings)
        self.runs = make(model, choice, deterministic=deterministic)
        self._encoder = Encoder(tokenizer)
        self._scorer = Scorer(
            self.runs, tokenizer, self._encoder, max_rows=self.options["max_rows"], context=self._context
        )
        self._name = name
        self._group = CacheGroup({name: self.runs}, {name: name}, self.options["kv_cache_mb"] << 20)
        self._engine = ContinuousBatching(
            name,
            self.runs,
            tokenizer,
            max_batch=self.options["max_batch"],
            max_rows=self.options["max_rows"],
            group=self._group,
        )
        self._worker = DeviceWorker.attach(str(model.device), self._engine)

    async def generate(self, request: Request) -> Completion:
        """Answer one request; see ``harness.contracts.Backend``."""
        prompt = self._encoder.encode_request(request, self._context)
        readers, cached = self._group.plan(request.session, self._name, prompt, only_read=request.max_tokens == 0)
        return await answer(self._worker, self._engine, request, prompt, readers, cached)

    async def score(self, answers: Sequence[tuple[Request, GivenAnswer]]) -> list[tuple[ScoredToken, ...] | None]:
        """Score given answers; see ``harness.contracts.SupportsScoring``. No calls may be running."""
        scored: list[tuple[ScoredToken, ...] | None] = [None] * len(answers)
        for given in self._scorer.passes(answers):
            for place, tokens in self._scorer.score(given).items():
                scored[place] = tokens
        return scored

    def release(self, session: str) -> None:
        """Free the session's cache."""
        self._group.forget(session)
        self._worker.do(partial(self._engine.release, session))

    def close(self) -> None:
        """Free the weights."""
        self._worker.detach(self._engine)
        del self._engine, self._scorer, self._group, self.runs
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
