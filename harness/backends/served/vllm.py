"""Backend ``vllm``: an engine of vLLM, on CUDA or, with vLLM's build for it, on a CPU.

Prompts are tokenised here, turn by turn, as for backend ``transformers``: both read the same ids, and vLLM's prefix
cache serves from step to step. docs/backends.md says what vLLM is installed with.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from threading import Thread
from typing import Any, Literal, TypeVar
from uuid import uuid4

from pydantic import Field
from transformers import AutoTokenizer
from vllm import SamplingParams
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.exceptions import VLLMValidationError
from vllm.outputs import RequestOutput
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError

from harness.backends.decoding import content_length
from harness.backends.encoding import NOTHING, Encoded, Encoder
from harness.backends.served.checkpoint import checkpoint_card, checkpoint_folder
from harness.backends.served.shares import BusyClock, token_from_top
from harness.config import Strict, check
from harness.data import Completion, ModelCard, Request, Timing
from harness.errors import EpisodeError, MixrouteError, RunStopped
from harness.pool import RANDOM, ModelSpec

T = TypeVar("T")

_START_SECONDS = 900


class VllmOptions(Strict):
    """``options`` of a model with this backend."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """What is computed in; ``auto`` is the checkpoint's own."""
    quantization: Literal["none", "rtn-w4", "rtn-w4-channel"] = "none"
    """Round to nearest, packed once in the cache. Checkpoints that are quantized already (AWQ, GPTQ,
    compressed-tensors) say so themselves."""
    memory_share: float = Field(default=0.45, gt=0, le=1)
    """Of the GPU's memory, for weights and caches; those of all models on one GPU must leave some room below 1."""
    kv_cache_mb: int | None = Field(default=None, ge=1)
    """Memory for key-value caches instead of what ``memory_share`` leaves; on a CPU 1,024 unless told."""
    max_model_len: int | None = Field(default=None, ge=1)
    """Longest prompt with its answer, in tokens; the model's own unless told."""
    max_batch: int = Field(default=64, ge=1)
    """Most sequences in one pass."""
    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs that share the model."""
    eager: bool = False
    """Whether to do without CUDA graphs and compilation, which start slower and run faster."""
    top_logprobs: int = Field(default=20, ge=1, le=20)
    """Likeliest tokens to have at each place; entropies are computed from them."""


class VllmBackend:
    """One model in an engine of its own.

    Raises:
        MixrouteError: wrong options, weights that cannot be read, or a mode that vLLM cannot promise.
    """

    def __init__(self, name: str, spec: ModelSpec, *, deterministic: bool) -> None:
        if deterministic:
            raise MixrouteError(
                f"model '{name}': vLLM promises no answer that is the same whatever runs beside it: "
                "set 'mode: throughput' in the suite"
            )
        self._options = options = check(spec.options, VllmOptions, f"options of model '{name}'")
        self._name = name
        self._load_format = "dummy" if spec.weights == RANDOM else "auto"
        folder = checkpoint_folder(spec, options.quantization)
        run_as = {"backend": "vllm", **options.model_dump(include={"dtype", "quantization", "tensor_parallel"})}
        self._card = checkpoint_card(name, folder, spec, run_as)
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._encoder = Encoder(self._tokenizer)
        self._read: dict[str, Encoded] = {}
        self._clock = BusyClock()
        # An engine belongs to the loop that it was started in, and runs outlive none of theirs.
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name=f"mixroute-vllm-{name}", daemon=True)
        self._thread.start()
        try:
            self._engine = self._there(self._start(str(folder)), _START_SECONDS)
        except Exception as error:
            self._stop_loop()
            raise MixrouteError(f"vLLM cannot run model '{name}' ({folder}): {_brief(error)}") from error

    async def _start(self, folder: str) -> AsyncLLM:
        import torch

        options = self._options
        on_cpu = not torch.cuda.is_available()
        room = options.kv_cache_mb or (1024 if on_cpu else None)
        return AsyncLLM.from_engine_args(
            AsyncEngineArgs(
                model=folder,
                load_format=self._load_format,
                dtype=options.dtype,
                max_model_len=options.max_model_len,
                max_num_seqs=options.max_batch,
                tensor_parallel_size=options.tensor_parallel,
                gpu_memory_utilization=options.memory_share,
                kv_cache_memory_bytes=None if room is None else room << 20,
                enforce_eager=options.eager or on_cpu,
                enable_prefix_caching=True,
                max_logprobs=options.top_logprobs,
            )
        )

    async def generate(self, request: Request) -> Completion:
        """Answer one request; see ``harness.contracts.Backend``."""
        if request.max_tokens == 0:
            raise RunStopped(f"model '{self._name}': vLLM gives no hidden states; use a router that reads none")
        prompt = self._encoder.encode(request.prompt, request.continue_from)
        if not prompt.ids:
            raise EpisodeError("the prompt is empty")
        cached = prompt.read_before(self._read.get(request.session, NOTHING))
        self._read[request.session] = prompt
        submitted, began = time.perf_counter(), self._clock.begin()
        try:
            output = await asyncio.wrap_future(
                asyncio.run_coroutine_threadsafe(self._answer(request, prompt.ids), self._loop)
            )
        except EngineDeadError as error:
            raise RunStopped(f"the engine of model '{self._name}' has died: {_brief(error)}") from error
        except (VLLMValidationError, ValueError) as error:  # such as a prompt that is too long
            raise EpisodeError(f"model '{self._name}' failed: {_brief(error)}") from error
        finally:
            self._clock.end()
        share, latency = self._clock.read() - began, time.perf_counter() - submitted
        return self._completion(output, request, cached, share, latency)

    async def _answer(self, request: Request, ids: list[int]) -> RequestOutput:
        parameters = SamplingParams(
            temperature=request.temperature,
            seed=request.seed if request.temperature > 0 else None,
            stop=list(request.stop),
            max_tokens=request.max_tokens,
            logprobs=self._options.top_logprobs,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        # Where nobody waits any more, the engine is told so: the generator aborts its request.
        answers = self._engine.generate({"prompt_token_ids": ids}, parameters, uuid4().hex)
        return [output async for output in answers][-1]

    def _completion(
        self, output: RequestOutput, request: Request, cached: int, share: float, latency: float
    ) -> Completion:
        answer = output.outputs[0]
        tokens = tuple(
            token_from_top(number, found[number].logprob, [other.logprob for other in found.values()])
            for number, found in zip(answer.token_ids, answer.logprobs, strict=True)
        )
        seen: Any = output.metrics
        prefill = max(0.0, seen.first_token_ts - seen.scheduled_ts)
        decode = max(0.0, seen.last_token_ts - seen.first_token_ts)
        reading = share * prefill / (prefill + decode) if prefill + decode else share
        return Completion(
            model=self._name,
            text=answer.text,
            tokens=tokens,
            content_tokens=content_length(self._tokenizer, list(answer.token_ids), answer.text),
            finish="length" if answer.finish_reason == "length" else "stop",
            prompt_tokens=len(output.prompt_token_ids or ()),
            cached_tokens=cached,
            timing=Timing(max(0.0, seen.scheduled_ts - seen.queued_ts), reading, share - reading, latency),
        )

    def release(self, session: str) -> None:
        """Forget the session; the prefix cache drops by itself what was used least recently."""
        self._read.pop(session, None)

    def card(self) -> ModelCard:
        """Facts about the loaded model."""
        return self._card

    def close(self) -> None:
        """Stop the engine and free its memory."""
        self._there(self._shut(), 60)
        del self._engine
        self._stop_loop()

    async def _shut(self) -> None:
        self._engine.shutdown()

    def _there(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """Do ``work`` in the engine's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
