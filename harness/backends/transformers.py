"""Backend ``transformers``: any causal language model of Hugging Face, on CPU or CUDA."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import time
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from harness.backends.adapters import weights_folder
from harness.backends.continuous import Call, ContinuousBatching
from harness.backends.encoding import Encoder
from harness.backends.packed import ATTENTION, PackedModel
from harness.backends.worker import DeviceWorker
from harness.config import Strict, check
from harness.data import Completion, ModelCard, Request
from harness.errors import EpisodeError, MixrouteError
from harness.pool import ModelSpec, PackageWeights

logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it reports an optional kernel, to be fetched from a hub
disable_progress_bar()  # type: ignore[no-untyped-call]


class TransformersOptions(Strict):
    """``options`` of a model with this backend."""

    device: str = "auto"
    """``auto`` takes CUDA where there is one, else the CPU."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """What is computed in. The nominal bytes come from the checkpoint's own type, not from this."""
    quantization: Literal["none", "nf4", "int8"] = "none"
    """Done at load, by bitsandbytes: NF4 in blocks of 64 weights, or LLM.int8."""
    max_batch: int = Field(32, ge=1)
    """Most sequences in one pass."""
    max_rows: int = Field(1024, ge=1)
    """Most tokens in one pass (a single longer prompt still runs whole)."""
    kv_cache_mb: int = Field(1024, ge=1)
    """Memory for key-value caches; see ``ContinuousBatching``."""


class TransformersBackend:
    """One model, batched across episodes, with a key-value cache per episode.

    Raises:
        MixrouteError: wrong options, or weights that cannot be read.
    """

    def __init__(self, name: str, spec: ModelSpec, *, deterministic: bool) -> None:
        options = check(spec.options, TransformersOptions, f"options of model '{name}'")
        if deterministic and options.dtype != "float32":
            raise MixrouteError(f"model '{name}': dtype {options.dtype} needs mode 'throughput'; set dtype: float32")
        device = options.device if options.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
        model, self._tokenizer = _load(name, weights_folder(spec), options, device)
        self._card = _card(name, model, spec, options)
        self._encoder = Encoder(self._tokenizer)
        self._context = int(getattr(model.config.get_text_config(), "max_position_embeddings", 1 << 30))
        packed = PackedModel(model, deterministic=deterministic)
        self._engine = ContinuousBatching(
            name,
            packed,
            self._tokenizer,
            max_batch=options.max_batch,
            max_rows=options.max_rows,
            kv_cache_bytes=options.kv_cache_mb << 20,
        )
        self._worker = DeviceWorker.of(device)
        self._worker.add(self._engine)

    async def generate(self, request: Request) -> Completion:
        """Answer one request; see ``harness.contracts.Backend``."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Completion] = loop.create_future()
        ids = self._encoder.encode(request.prompt, request.continue_from)
        if not ids:
            raise EpisodeError("the prompt is empty")
        if len(ids) + request.max_tokens > self._context:
            raise EpisodeError(f"a prompt of {len(ids)} tokens leaves no room in a context of {self._context}")
        call = Call(request=request, ids=ids, loop=loop, future=future, submitted=time.perf_counter())
        self._worker.do(lambda: self._engine.submit(call))
        try:
            return await future
        except asyncio.CancelledError:
            self._worker.do(lambda: self._engine.cancel(call))
            raise

    def release(self, session: str) -> None:
        """Free the session's cache."""
        self._worker.do(lambda: self._engine.release(session))

    def card(self) -> ModelCard:
        """Facts about the loaded model."""
        return self._card

    def close(self) -> None:
        """Free the weights."""
        self._worker.remove(self._engine)
        del self._engine
        gc.collect()


def _load(name: str, folder: str | Path, options: TransformersOptions, device: str) -> tuple[PreTrainedModel, Any]:
    dtype = getattr(torch, options.dtype)
    extra: dict[str, Any] = {}
    if options.quantization != "none":
        from transformers import BitsAndBytesConfig

        extra["quantization_config"] = (
            BitsAndBytesConfig(  # type: ignore[no-untyped-call]
                load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
            )
            if options.quantization == "nf4"
            else BitsAndBytesConfig(load_in_8bit=True)  # type: ignore[no-untyped-call]
        )
        extra["device_map"] = {"": device}
    load: Any = AutoModelForCausalLM.from_pretrained
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model, loading = load(folder, dtype=dtype, attn_implementation=ATTENTION, output_loading_info=True, **extra)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise MixrouteError(f"weights of model '{name}' ({folder}) cannot be read: {reason}") from error
    absent = sorted({*loading["missing_keys"], *(str(key) for key in loading["mismatched_keys"])})
    if absent:  # they would be drawn at random
        raise MixrouteError(f"weights of model '{name}' ({folder}) cannot be read: no tensor for {absent[0]}")
    model.train(False).requires_grad_(False)
    return (model if extra else torch.nn.Module.to(model, device)), tokenizer


def _card(name: str, model: PreTrainedModel, spec: ModelSpec, options: TransformersOptions) -> ModelCard:
    """Count parameters and stored bytes, and hash the weights as they are run."""
    stored_bytes = _checkpoint_bytes(model)
    digest = hashlib.sha256()
    parameters = total = 0
    seen: set[int] = set()
    for key, tensor in sorted(model.state_dict(keep_vars=True).items()):
        digest.update(key.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        if tensor.data_ptr() in seen or not isinstance(tensor, torch.nn.Parameter):
            continue  # a tied tensor counts once; buffers (rotary tables) are not weights
        seen.add(tensor.data_ptr())
        state = getattr(tensor, "quant_state", None)
        if state is not None:
            parameters += state.shape.numel()
            total += tensor.nbytes + state.absmax.nbytes
        else:
            parameters += tensor.numel()
            total += tensor.numel() * (tensor.element_size() if tensor.dtype == torch.int8 else stored_bytes)
    run_as = options.model_dump(include={"dtype", "quantization"})
    digest.update(repr(sorted(run_as.items())).encode())
    source = spec.weights.model_dump() if isinstance(spec.weights, PackageWeights) else spec.weights
    return ModelCard(
        model=name,
        parameters=parameters,
        weight_bytes=total,
        bits=round(8 * total / parameters, 3),
        fingerprint=digest.hexdigest(),
        details={"weights": source, "device": str(model.device), **run_as},
    )


def _checkpoint_bytes(model: PreTrainedModel) -> int:
    """Bytes a weight takes in the checkpoint, whatever it is computed in."""
    from transformers import AutoConfig

    stored = getattr(AutoConfig.from_pretrained(str(model.name_or_path)), "dtype", None)
    return (stored if isinstance(stored, torch.dtype) else torch.float32).itemsize
