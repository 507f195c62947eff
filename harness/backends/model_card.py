"""The card of a loaded model: its parameters, its bytes as stored, and a hash of what is run."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, PreTrainedModel

from harness.backends.loading import TransformersOptions, is_compressed
from harness.backends.quantized.convert import UNPACKED, arithmetic, head_rows_quantized
from harness.backends.stored import stored_card, stored_tensors
from harness.data import ModelCard
from harness.pool import ModelSpec

_PARTS = ("weight_scale", "weight_zero_point", "weight_shape", "weight_g_idx")
"""Ends of the names of tensors that a compressed checkpoint has beside its weights."""
_SCALE_BYTES = 4  # of a row of a head of 8 bits


def model_card(name: str, model: PreTrainedModel, spec: ModelSpec, options: TransformersOptions) -> ModelCard:
    """Count parameters and stored bytes, and hash the weights as they are run."""
    run_as: dict[str, str] = options.model_dump(include={"dtype", "quantization"})
    computes = arithmetic(model)
    if computes in ("", UNPACKED):  # the fingerprint is that of the dense weights
        parameters, stored, digest = _dense(model)
        digest.update(repr(sorted(run_as.items())).encode())
    else:
        parameters, stored, digest = _packed(model)
        digest.update(repr(sorted({**run_as, "arithmetic": computes}.items())).encode())
    if computes:
        run_as["arithmetic"] = computes
    return stored_card(name, spec, parameters, stored, digest.hexdigest(), {"device": str(model.device), **run_as})


def _dense(model: PreTrainedModel) -> tuple[int, int, hashlib._Hash]:
    """Parameters, stored bytes and hash of a model whose layers hold their weights as tensors."""
    config = _stored_config(model)
    stored_bytes = _bytes_of_a_weight(config)
    digest = hashlib.sha256()
    parameters = total = 0
    seen: set[int] = set()
    for key, tensor in sorted(model.state_dict(keep_vars=True).items()):
        _update(digest, key, tensor)
        if tensor.data_ptr() in seen or not isinstance(tensor, torch.nn.Parameter) or key.endswith(_PARTS):
            continue  # a tied tensor counts once; buffers (rotary tables) and scales are not weights
        seen.add(tensor.data_ptr())
        state = getattr(tensor, "quant_state", None)
        if state is not None:
            parameters += state.shape.numel()
            total += tensor.nbytes + state.absmax.nbytes
        else:
            parameters += tensor.numel()
            total += tensor.numel() * (tensor.element_size() if tensor.dtype == torch.int8 else stored_bytes)
    if is_compressed(config):
        total = sum(tensor.nbytes for _, tensor in stored_tensors(Path(str(model.name_or_path))))
    return parameters, total, digest


def _packed(model: PreTrainedModel) -> tuple[int, int, hashlib._Hash]:
    """Parameters, stored bytes and hash of a model with packed layers, whose weights only their kernels can read."""
    digest = hashlib.sha256()
    parameters = total = 0
    for key, tensor in stored_tensors(Path(str(model.name_or_path))):
        _update(digest, key, tensor)
        total += tensor.nbytes
        if key.endswith("weight_shape"):
            parameters += int(tensor.prod())
        elif not key.endswith((*_PARTS, "weight_packed")):
            parameters += tensor.numel()
    if heads := head_rows_quantized(model):
        stored_bytes = _bytes_of_a_weight(_stored_config(model))
        total -= sum(rows * (size * (stored_bytes - 1) - _SCALE_BYTES) for rows, size in heads)
    return parameters, total, digest


def _update(digest: hashlib._Hash, key: str, tensor: Tensor) -> None:
    digest.update(key.encode())
    digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)


def _stored_config(model: PreTrainedModel) -> Any:  # noqa: ANN401 - transformers' classes share no useful type
    """The configuration as the checkpoint has it; that of a loaded model says how it is run."""
    return AutoConfig.from_pretrained(str(model.name_or_path))


def _bytes_of_a_weight(config: Any) -> int:  # noqa: ANN401 - see above
    """Bytes of a weight in a checkpoint with this configuration, whatever the type of the computation."""
    stored = getattr(config, "dtype", None)
    return (stored if isinstance(stored, torch.dtype) else torch.float32).itemsize
