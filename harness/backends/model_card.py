"""The card of a loaded model: its parameters, its bytes as stored, and a hash of what is run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoConfig, PreTrainedModel

from harness.backends.loading import TransformersOptions, is_compressed
from harness.backends.quantized.convert import UNPACKED, arithmetic, head_rows_quantized
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
    return ModelCard(
        model=name,
        parameters=parameters,
        weight_bytes=stored,
        bits=round(8 * stored / parameters, 3),
        fingerprint=digest.hexdigest(),
        details={**spec.model_dump(include={"weights", "adapter"}), "device": str(model.device), **run_as},
    )


def _dense(model: PreTrainedModel) -> tuple[int, int, hashlib._Hash]:
    """Parameters, stored bytes and hash of a model whose layers hold their weights as tensors."""
    stored_bytes = _checkpoint_bytes(model)
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
    if is_compressed(_stored_config(model)):
        total = sum(tensor.nbytes for _, tensor in _checkpoint(str(model.name_or_path)))
    return parameters, total, digest


def _packed(model: PreTrainedModel) -> tuple[int, int, hashlib._Hash]:
    """Parameters, stored bytes and hash of a model with packed layers, whose weights only their kernels can read."""
    digest = hashlib.sha256()
    parameters = total = 0
    for key, tensor in _checkpoint(str(model.name_or_path)):
        _update(digest, key, tensor)
        total += tensor.nbytes
        if key.endswith("weight_shape"):
            parameters += int(tensor.prod())
        elif not key.endswith((*_PARTS, "weight_packed")):
            parameters += tensor.numel()
    stored_bytes = _checkpoint_bytes(model)
    for rows, size in head_rows_quantized(model):
        total -= rows * (size * (stored_bytes - 1) - _SCALE_BYTES)
    return parameters, total, digest


def _update(digest: hashlib._Hash, key: str, tensor: Tensor) -> None:
    digest.update(key.encode())
    digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)


def _stored_config(model: PreTrainedModel) -> Any:  # noqa: ANN401 - transformers' classes share no useful type
    """The configuration as the checkpoint has it; that of a loaded model says how it is run."""
    return AutoConfig.from_pretrained(str(model.name_or_path))


def _checkpoint_bytes(model: PreTrainedModel) -> int:
    """Bytes of a weight in the checkpoint, whatever the type of the computation."""
    stored = getattr(_stored_config(model), "dtype", None)
    return (stored if isinstance(stored, torch.dtype) else torch.float32).itemsize


def _checkpoint(folder: str) -> Iterator[tuple[str, Tensor]]:
    """Name and content of each tensor of a checkpoint, in the order of files and names."""
    for file in sorted(Path(folder).glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for key in sorted(tensors.keys()):
                yield key, tensors.get_tensor(key)
