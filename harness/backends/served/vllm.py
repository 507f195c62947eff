"""Backend ``vllm``: an engine of vLLM, on CUDA or, with vLLM's build for it, on a CPU.

Prompts are tokenised here, turn by turn, as for backend ``transformers``: both read the same ids, and vLLM's prefix
cache serves from step to step. docs/backends.md says what vLLM is installed with. This module needs no vLLM, so that
the backend can be described where it is not installed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from transformers import AutoTokenizer

from harness.backends.decoding import token_ends
from harness.backends.encoding import Encoder
from harness.backends.generation_settings import check_generation_settings, generation_settings
from harness.backends.reading import NOTHING, Encoded
from harness.backends.served.checkpoint import checkpoint_card, checkpoint_folder
from harness.backends.served.limits import refuse_reading
from harness.backends.served.options import VllmOptions
from harness.backends.served.shares import BusyClock, token_from_top
from harness.config import check
from harness.contracts import BackendTraits
from harness.data import Completion, MemoryEstimate, ModelCard, Prompt, Request, Timing
from harness.errors import MixrouteError
from harness.pool import ModelSpec
from harness.weights.size import GIB, packing_of, size_of

if TYPE_CHECKING:
    from vllm.outputs import RequestOutput

_WORKSPACE = 1.0
"""GiB that an engine of vLLM takes for activations and captured graphs: an allowance."""


class VllmBackend(BackendTraits):
    """One model in an engine of its own.

    Raises:
        MixrouteError: wrong options, weights that cannot be read, or a mode that vLLM cannot promise.
    """

    required_packages = ("vllm",)
    install_hint = "make vllm-env, or the official vllm where there is CUDA (docs/gpu.md)"
    supports_random_weights = True

    @classmethod
    def estimate_memory(cls, shape: str | None, options: Mapping[str, Any]) -> MemoryEstimate | None:
        """Packed weights, one prompt of the longest length or ``kv_cache_mb``, and an allowance; see
        ``BackendTraits``.
        """
        if shape is None:
            return None
        checked = check(dict(options), VllmOptions, "options")
        size = size_of(shape)
        longest = size.cache_bytes(checked.max_model_len or size.context)
        return MemoryEstimate(
            weights=size.weight_bytes(packing_of(shape, checked.quantization)) / GIB,
            cache=checked.kv_cache_mb / 1024 if checked.kv_cache_mb else longest / GIB,
            workspace=_WORKSPACE,
            memory_share=checked.memory_share,
            gpus=checked.tensor_parallel,
        )

    def __init__(self, name: str, spec: ModelSpec, *, deterministic: bool) -> None:
        if deterministic:
            raise MixrouteError(
                f"model '{name}': vLLM does not promise the same answer whatever runs beside it: set 'mode: "
                "throughput' in the suite"
            )
        options = check(spec.options, VllmOptions, f"options of model '{name}'")
        from harness.backends.served.vllm_engine import VllmEngine

        self._name = name
        folder = checkpoint_folder(spec, options.quantization)
        ignored = options.generation_config == "ignore"
        check_generation_settings(name, generation_settings(folder), ignored=ignored)
        run_as = {"backend": "vllm", **options.model_dump(include={"dtype", "quantization", "tensor_parallel"})}
        self._card = checkpoint_card(name, folder, spec, run_as)
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._encoder = Encoder(self._tokenizer)
        self._options = options
        self._context = size_of(str(folder / "config.json")).context
        self._read: dict[str, Encoded] = {}
        self._clock = BusyClock()
        self._engine = VllmEngine(name, folder, options, "dummy" if spec.has_random_weights else "auto")

    async def generate(self, request: Request) -> Completion:
        """Answer one request; see ``harness.contracts.Backend``."""
        refuse_reading(self._name, "vLLM", request)
        known = self._options.max_model_len
        # Without the option vLLM chooses, and may go beyond the configuration; it refuses by itself what is too long.
        context = known or (self._context if request.truncate else sys.maxsize)
        prompt = self._encoder.encode_request(request, context)
        cached = prompt.cached_prefix_length(self._read.get(request.session, NOTHING))
        self._read[request.session] = prompt
        submitted, began = time.perf_counter(), self._clock.begin()
        try:
            output = await self._engine.complete(request, prompt.ids)
        finally:
            self._clock.end()
        share, latency = self._clock.read() - began, time.perf_counter() - submitted
        return self._completion(output, cached, share, latency)

    def _completion(self, output: RequestOutput, cached: int, share: float, latency: float) -> Completion:
        answer = output.outputs[0]
        tokens = tuple(
            token_from_top(number, found[number].logprob, [other.logprob for other in found.values()])
            for number, found in zip(answer.token_ids, answer.logprobs, strict=True)
        )
        ends = token_ends(self._tokenizer, list(answer.token_ids), answer.text)
        metrics: Any = output.metrics
        prefill = max(0.0, metrics.first_token_ts - metrics.scheduled_ts)
        decode = max(0.0, metrics.last_token_ts - metrics.first_token_ts)
        prefill_share = share * prefill / (prefill + decode) if prefill + decode else share
        waited = max(0.0, metrics.scheduled_ts - metrics.queued_ts)
        return Completion(
            model=self._name,
            text=answer.text,
            tokens=tokens,
            content_tokens=len(ends),
            finish="length" if answer.finish_reason == "length" else "stop",
            prompt_tokens=len(output.prompt_token_ids or ()),
            cached_tokens=cached,
            timing=Timing(waited, prefill_share, share - prefill_share, latency),
            token_ends=ends,
        )

    def check_prompt(self, prompt: Prompt, max_tokens: int) -> None:
        """Check that a prompt can be rendered and leaves room; see ``harness.contracts.ChecksPrompts``."""
        self._encoder.encode_request(
            Request("", prompt, max_tokens=max_tokens), self._options.max_model_len or self._context
        )

    def prompt_notes(self, prompt: Prompt) -> Mapping[str, str]:
        """What is done to such prompts beside rendering them, the clock that templates are told included.

        See ``harness.contracts.DescribesPrompts``.
        """
        return self._encoder.notes(prompt)

    def release(self, session: str) -> None:
        """Forget the session; the prefix cache itself drops the least recently used blocks."""
        self._read.pop(session, None)

    def card(self) -> ModelCard:
        """Facts about the loaded model."""
        return self._card

    def close(self) -> None:
        """Stop the engine and free its memory."""
        self._engine.close()
