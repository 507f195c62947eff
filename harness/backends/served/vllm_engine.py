"""An engine of vLLM in an event loop of its own. The only module that imports vLLM."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar
from uuid import uuid4

import torch
from vllm import SamplingParams
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.exceptions import VLLMValidationError
from vllm.outputs import RequestOutput
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError

from harness.backends.served.options import VllmOptions
from harness.data import Request
from harness.errors import EpisodeError, MixrouteError, RunStopped
from harness.text import one_line

T = TypeVar("T")

_START_SECONDS = 900


class VllmEngine:
    """Runs the checkpoint in a folder.

    Args:
        name: Of the model in its pool.
        folder: With the checkpoint.
        options: Of the model.
        load_format: ``auto``, or ``dummy`` for random weights.

    Raises:
        MixrouteError: vLLM cannot run it.
    """

    def __init__(self, name: str, folder: Path, options: VllmOptions, load_format: str) -> None:
        self._name = name
        self._options = options
        # An engine is bound to the loop that it was started in, and the loop of a run ends with the run.
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name=f"mixroute-vllm-{name}", daemon=True)
        self._thread.start()
        try:
            self._engine = self._wait_for(self._start(str(folder), load_format), _START_SECONDS)
        except Exception as error:
            self._stop_loop()
            raise MixrouteError(f"vLLM cannot run model '{name}' ({folder}): {one_line(error)}") from error

    async def _start(self, folder: str, load_format: str) -> AsyncLLM:
        options = self._options
        on_cpu = not torch.cuda.is_available()
        cache_mb = options.kv_cache_mb or (1024 if on_cpu else None)
        return AsyncLLM.from_engine_args(
            AsyncEngineArgs(
                model=folder,
                load_format=load_format,
                dtype=options.dtype,
                max_model_len=options.max_model_len,
                max_num_seqs=options.max_batch,
                tensor_parallel_size=options.tensor_parallel,
                gpu_memory_utilization=options.memory_share,
                kv_cache_memory_bytes=None if cache_mb is None else cache_mb << 20,
                enforce_eager=options.eager or on_cpu,
                enable_prefix_caching=True,
                max_logprobs=options.top_logprobs,
            )
        )

    async def complete(self, request: Request, ids: list[int]) -> RequestOutput:
        """The output for a prompt of these token ids.

        Raises:
            EpisodeError: vLLM refuses the request.
            RunStopped: the engine has died.
        """
        work = asyncio.run_coroutine_threadsafe(self._complete(request, ids), self._loop)
        try:
            return await asyncio.wrap_future(work)
        except EngineDeadError as error:
            raise RunStopped(f"the engine of model '{self._name}' has died: {one_line(error)}") from error
        except (VLLMValidationError, ValueError) as error:  # such as a prompt that is too long
            raise EpisodeError(f"model '{self._name}' failed: {one_line(error)}") from error

    async def _complete(self, request: Request, ids: list[int]) -> RequestOutput:
        parameters = SamplingParams(
            temperature=request.temperature,
            seed=request.seed if request.temperature > 0 else None,
            stop=list(request.stop),
            max_tokens=request.max_tokens,
            logprobs=self._options.top_logprobs,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        # If the caller is cancelled, the generator is closed, and the engine aborts its request.
        outputs = self._engine.generate({"prompt_token_ids": ids}, parameters, uuid4().hex)
        return [output async for output in outputs][-1]

    def close(self) -> None:
        """Stop the engine and free its memory."""
        self._wait_for(self._shut_down(), 60)
        del self._engine
        self._stop_loop()

    async def _shut_down(self) -> None:
        self._engine.shutdown()

    def _wait_for(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """Run ``work`` in the engine's loop and wait for its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
