"""Loading causal language models with transformers."""

from __future__ import annotations

import json
import logging
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    CompressedTensorsConfig,
    PreTrainedModel,
)
from transformers.utils.logging import disable_progress_bar

from harness.backends.encoding import Encoder
from harness.backends.generation_settings import check_generation_settings, generation_settings
from harness.backends.quantized.convert import pack_linear_layers, packed_layers, quantize_head
from harness.config import Strict, check
from harness.errors import MixrouteError
from harness.pool import ModelSpec
from harness.text import one_line
from harness.weights.adapters import weights_folder
from harness.weights.rounding import rounded_folder
from harness.weights.schemes import SCHEMES
from harness.weights.size import INTEGERS, Packing, packing_of

log = logging.getLogger(__name__)
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns of an optional kernel, which a hub has
disable_progress_bar()  # type: ignore[no-untyped-call]


class TransformersOptions(Strict):
    """``options`` of a model with this backend."""

    device: str = "auto"
    """``auto`` takes CUDA where there is one, else the CPU."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the computation. The nominal bytes follow from the checkpoint's own type, not from this."""
    quantization: Literal["none", "nf4", "int8", "rtn-w4", "rtn-w4-channel", "rtn-w3", "rtn-w2"] = "none"
    """Quantization at load: by bitsandbytes to NF4 in blocks of 64 weights or to LLM.int8; or round to nearest with 4,
    3 or 2 bits, a scale for each group of weights or for each output (``channel``), packed once in the cache."""
    kernels: Literal["packed", "unpacked"] = "packed"
    """Whether the linear layers of a compressed-tensors checkpoint stay packed, where there is a kernel for their
    format, or become dense weights of ``dtype`` at load."""
    head: Literal["checkpoint", "int8"] = "checkpoint"
    """Embedding and head as the checkpoint has them, or quantized at load to 8 bits, a scale for each token."""
    max_batch: int = Field(default=32, ge=1)
    """Most sequences in one pass."""
    max_rows: int = Field(default=1024, ge=1)
    """Most tokens in one pass (a single longer prompt still runs whole)."""
    kv_cache_mb: int = Field(default=1024, ge=1)
    """Memory for key-value caches; see ``SessionCaches``."""
    generation_config: Literal["refuse", "ignore"] = "refuse"
    """What to do with settings of the checkpoint's ``generation_config`` that would change answers, such as
    ``repetition_penalty``; see ``check_generation_settings``."""


def device_of(options: TransformersOptions) -> str:
    """The device that a model runs on."""
    if options.device != "auto":
        return options.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def held_as(shape: str, options: TransformersOptions) -> Packing | None:
    """Format in which the linear layers of a model of this shape are held while it runs; None where they are dense.

    Raises:
        MixrouteError: the shape cannot be read, or the quantization does not fit it.
    """
    if options.quantization == "none" or (options.quantization in SCHEMES and options.kernels == "unpacked"):
        return None
    packing = packing_of(shape, options.quantization)
    one_scale = options.quantization in SCHEMES and packing is not None and not packing.group
    return INTEGERS if one_scale and device_of(options) == "cpu" else packing


def load_model(
    name: str, spec: ModelSpec, options: TransformersOptions, attention: str = "eager"
) -> tuple[PreTrainedModel, Any]:
    """A model, ready to run, and its tokenizer.

    Layers of a checkpoint in the compressed-tensors format stay packed where there is a kernel for their format; see
    ``harness.backends.quantized``. Others become dense weights of ``options.dtype``, which is logged. Their bytes are
    still those of the checkpoint.

    Raises:
        MixrouteError: the weights cannot be read, or an option does not fit them.
    """
    folder = weights_folder(spec)
    if options.quantization in SCHEMES:
        folder = rounded_folder(folder, options.quantization)
    if Path(folder).is_dir():
        generation_settings(Path(folder))  # transformers does without a damaged file, in silence
    device = device_of(options)
    load: Any = AutoModelForCausalLM.from_pretrained
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        extra = _quantization(folder, options, device)
        with redirect_stderr(StringIO()):  # for the progress bar of compressed-tensors
            model, loading = load(
                folder,
                dtype=getattr(torch, options.dtype),
                attn_implementation=attention,
                output_loading_info=True,
                **extra,
            )
    except MixrouteError:
        raise
    except Exception as error:  # transformers raises whatever a damaged file or an unusual configuration leads to
        raise unreadable(name, folder, error) from error
    absent = sorted({*loading["missing_keys"], *(str(key) for key in loading["mismatched_keys"])})
    if absent:  # transformers would initialise them at random
        raise unreadable(name, folder, f"no tensor for {absent[0]}")
    settings = model.generation_config.to_dict() if model.generation_config else {}
    check_generation_settings(name, settings, ignored=options.generation_config == "ignore")
    model.train(False).requires_grad_(False)
    if "device_map" not in extra:
        torch.nn.Module.to(model, device)
    _pack(name, model, options)
    if isinstance(extra.get("quantization_config"), CompressedTensorsConfig):
        from compressed_tensors.offload.dispatch import remove_dispatch

        remove_dispatch(model, onload_tensors=True)  # else its layers look at every call whether they were offloaded
    return model, tokenizer


def _pack(name: str, model: PreTrainedModel, options: TransformersOptions) -> None:
    """Make the layers of a compressed checkpoint into packed ones, as far as there are kernels and options say so.

    Raises:
        MixrouteError: ``head`` asks for what this model is not.
    """
    compressor: Any = getattr(getattr(model, "hf_quantizer", None), "compressor", None)
    if options.kernels == "packed" and compressor is not None:
        dense = pack_linear_layers(model)
        with redirect_stderr(StringIO()):  # for its progress bar
            compressor.decompress_model(model)  # what is left, and the hook that would do it at the first pass
        if dense:
            log.warning(
                "model '%s' runs unpacked, at the speed of dense weights: no kernel for %s", name, "; ".join(dense)
            )
    if options.head == "int8":
        if not packed_layers(model):
            raise MixrouteError(f"model '{name}': 'head: int8' is for packed checkpoints: leave it out")
        try:
            quantize_head(model)
        except ValueError as error:
            raise MixrouteError(f"model '{name}': 'head: int8' does not fit it ({error}): leave it out") from error


def unreadable(name: str, folder: str | Path, cause: Exception | str) -> MixrouteError:
    """The error that says why a model cannot be loaded, with folder and architecture, in one line."""
    reason = one_line(cause)
    if isinstance(cause, Exception) and not isinstance(cause, OSError | ValueError | RuntimeError | SafetensorError):
        reason = f"{type(cause).__name__}: {reason}"
    return MixrouteError(f"weights of model '{name}' ({folder}{_architecture(folder)}) cannot be read: {reason}")


def _architecture(folder: str | Path) -> str:
    """What ``config.json`` says that a model is, after a comma; empty if it says nothing."""
    try:
        found = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        named = (found.get("architectures") or [found["model_type"]])[0]
    except (OSError, ValueError, KeyError, AttributeError, TypeError, IndexError, RecursionError):
        return ""
    return f", {str(named)[:80]}"


def context_length(model: PreTrainedModel) -> int:
    """Most tokens of a text. Ropes that are stretched as a text grows reach further than the trained length."""
    config: Any = model.config.get_text_config()
    length = getattr(config, "max_position_embeddings", None) or getattr(config, "max_seq_len", None)
    if not isinstance(length, int):
        return 1 << 30
    ropes = getattr(config, "rope_parameters", None) or {}
    stretched = isinstance(ropes, dict) and ropes.get("rope_type") == "dynamic"
    return int(length * float(ropes.get("factor") or 1)) if stretched else length


def open_for_comparison(name: str, spec: ModelSpec) -> tuple[PreTrainedModel, Encoder]:
    """A model of a pool and its encoder, to be read outside a backend.

    Raises:
        MixrouteError: it is not of backend ``transformers``, or cannot be read.
    """
    if spec.backend != "transformers":
        raise MixrouteError(f"model '{name}' has backend '{spec.backend}': only transformers can be compared")
    options = check(spec.options, TransformersOptions, f"options of model '{name}'")
    model, tokenizer = load_model(name, spec, options, attention="sdpa")
    return model, Encoder(tokenizer)


def _quantization(folder: str | Path, options: TransformersOptions, device: str) -> dict[str, Any]:
    """Arguments for weights that are quantized at load, or whose checkpoint is quantized."""
    if is_compressed(AutoConfig.from_pretrained(folder)):
        if options.quantization in ("nf4", "int8"):
            raise MixrouteError(f"{folder} is quantized already: leave out 'quantization: {options.quantization}'")
        return {"quantization_config": CompressedTensorsConfig(dequantize=options.kernels == "unpacked")}
    if options.quantization == "none":
        return {}
    if options.quantization == "nf4":
        config = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=getattr(torch, options.dtype)
        )
    else:
        config = BitsAndBytesConfig(load_in_8bit=True)  # type: ignore[no-untyped-call]
    return {"quantization_config": config, "device_map": {"": device}}


def is_compressed(config: Any) -> bool:  # noqa: ANN401 - transformers' configuration classes share no useful type
    """Whether a configuration is that of a checkpoint in the compressed-tensors format."""
    return (getattr(config, "quantization_config", None) or {}).get("quant_method") == "compressed-tensors"
