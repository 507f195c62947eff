"""Layers of a compressed-tensors checkpoint, as loaded, made into layers that run packed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from harness.backends.linear import replace_modules
from harness.backends.quantized.grouped import GroupedLinear, supports
from harness.backends.quantized.integer import IntegerEmbedding, IntegerLinear, RowQuantizer, quantize_rows
from harness.backends.quantized.layer import PackedLinear

UNPACKED = "unpacked"
"""Arithmetic of quantized layers that run as dense weights: at their speed, whatever their bytes are."""
_EXACT_TERMS = 3


@dataclass(frozen=True, slots=True)
class _Stored:
    """The weights of one layer as a checkpoint holds them."""

    integers: Tensor
    """int8, shape (outputs, inputs)."""
    scale: Tensor
    """Shape (outputs, groups)."""
    zero: Tensor | None
    """Shape (outputs, groups)."""
    bits: int
    grouped: bool
    """Whether scales are of groups of weights, not of outputs."""


@torch.inference_mode()
def pack_linear_layers(model: PreTrainedModel) -> list[str]:
    """Make the compressed linear layers of a model into packed ones, in place.

    Returns:
        Why some could not be packed, a line for each reason; these are left as they are.
    """
    quantize = RowQuantizer()
    refused: Counter[str] = Counter()

    def made(layer: nn.Module) -> nn.Module | None:
        if getattr(layer, "quantization_scheme", None) is None:
            return None
        packed = _packed(layer, model.dtype, quantize)
        if isinstance(packed, str):
            refused[packed] += 1
            return None
        return packed

    replace_modules(model, made)
    return [f"{count} layers of {reason}" for reason, count in refused.items()]


def _packed(layer: nn.Module, dtype: torch.dtype, quantize: RowQuantizer) -> PackedLinear | str:
    """The layer, packed; or what there is no kernel for."""
    stored = _stored(layer)
    if isinstance(stored, str):
        return stored
    device = stored.integers.device.type
    bias: Tensor | None = getattr(layer, "bias", None)
    outputs, inputs = stored.integers.shape
    groups = stored.scale.shape[1]
    if device == "cpu" and not stored.grouped and stored.zero is None:
        return IntegerLinear(
            stored.integers, stored.scale[:, 0], bias, bits=stored.bits, quantize=quantize, dtype=dtype
        )
    if supports(device, outputs, inputs, groups, stored.bits):
        return GroupedLinear(stored.integers, stored.scale, stored.zero, bias, bits=stored.bits, dtype=dtype)
    shared = f"{inputs // groups} weights" if stored.grouped else "an output"
    return (
        f"{stored.bits} bits with a scale for {shared}{'' if stored.zero is None else ' and zero points'} on {device}"
    )


def _stored(layer: nn.Module) -> _Stored | str:
    """Integers and scales of a compressed layer; or what its format is, where it does not hold integers."""
    from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32

    scheme: Any = layer.quantization_scheme
    args = scheme.weights
    if args is None or args.type != "int" or args.strategy not in ("channel", "group", "tensor"):
        return f"{'no' if args is None else f'{args.num_bits}-bit {args.type}'} weights"
    tensors = {**dict(layer.named_parameters(recurse=False)), **dict(layer.named_buffers(recurse=False))}
    if "weight_g_idx" in tensors:
        return "weights in another order than their groups"
    packed = tensors.get("weight_packed")
    if packed is None:
        integers = tensors["weight"]
        if integers.dtype != torch.int8:
            return f"weights stored as {integers.dtype}"
        shape = integers.shape
    else:
        shape = torch.Size(tensors["weight_shape"].tolist())
        integers = unpack_from_int32(packed.detach(), args.num_bits, shape)
    scale = tensors["weight_scale"].detach().float()
    scale = scale.reshape(1, 1).expand(shape[0], 1) if scale.numel() == 1 else scale.reshape(shape[0], -1)
    zero = None
    if not args.symmetric:
        zero = tensors["weight_zero_point"].detach()
        if packed is not None:
            zero = unpack_from_int32(zero, args.num_bits, torch.Size(scale.shape), packed_dim=0)
        zero = zero.reshape(scale.shape)
    return _Stored(integers.detach(), scale.contiguous(), zero, args.num_bits, args.strategy == "group")


@torch.inference_mode()
def quantize_head(model: PreTrainedModel) -> None:
    """Quantize embedding and head to 8 bits, a scale for each token, in place; one matrix where the model ties them.

    Raises:
        ValueError: the model has other kinds of embedding or head than plain ones, or does not run on the CPU.
    """
    if model.device.type != "cpu":
        raise ValueError(f"it runs on {model.device.type}, and integer products on the CPU only")
    embedding: Any = model.get_input_embeddings()
    head: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if type(embedding) is not nn.Embedding or type(head) is not nn.Linear:
        raise ValueError(f"its embedding is a {type(embedding).__name__}, its head a {type(head).__name__}")
    tied = head.weight.data_ptr() == embedding.weight.data_ptr()
    integers, scale = _rounded(embedding.weight)
    model.set_input_embeddings(IntegerEmbedding(integers, scale, model.dtype, tied=tied))
    if not tied:
        integers, scale = _rounded(head.weight)
    made = IntegerLinear(integers, scale, head.bias, bits=8, quantize=RowQuantizer(), dtype=model.dtype)
    model.set_output_embeddings(made)  # type: ignore[no-untyped-call]


def head_rows_quantized(model: PreTrainedModel) -> list[tuple[int, int]]:
    """Shapes of the matrices that ``quantize_head`` made: none, that of embedding and head, or one for each."""
    embedding: Any = model.get_input_embeddings()
    if not isinstance(embedding, IntegerEmbedding):
        return []
    shape = embedding.num_embeddings, embedding.embedding_dim
    return [shape] if embedding.tied else [shape, shape]


def _rounded(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Integers of 8 bits and the scale of each row."""
    integers, scale = quantize_rows(weight.float())
    return integers.to(torch.int8), scale[:, 0]


def arithmetic(model: nn.Module) -> str:
    """What the quantized layers of a model compute: ``W4A8`` for 4-bit weights and 8-bit activations, ``unpacked`` for
    those that run as dense weights; empty for a model that is not quantized.
    """
    head = model.get_output_embeddings() if isinstance(model, PreTrainedModel) else None  # type: ignore[no-untyped-call]
    found = {layer.arithmetic for layer in packed_layers(model) if layer is not head}
    if isinstance(head, PackedLinear):
        found.add(f"head {head.arithmetic}")
    if any(getattr(module, "quantization_scheme", None) is not None for module in model.modules()):
        found.add(UNPACKED)
    return ", ".join(sorted(found, key=lambda kind: (kind.startswith("head"), kind)))


@contextmanager
def exact_activations(model: nn.Module) -> Iterator[None]:
    """Compute integer layers with activations as exact as in float32, for comparisons of ways to run the rest: rounding
    to 8 bits turns differences in the last digit into differences that are seen.
    """
    quantizers = {layer.quantize for layer in packed_layers(model) if isinstance(layer, IntegerLinear)}
    for quantizer in quantizers:
        quantizer.terms = _EXACT_TERMS
    try:
        yield
    finally:
        for quantizer in quantizers:
            quantizer.terms = 1


def kernels(model: nn.Module) -> list[str]:
    """Names of the kernels that compute the packed layers, sorted."""
    return sorted({layer.kernel for layer in packed_layers(model)})


def packed_layers(model: nn.Module) -> list[PackedLinear]:
    """The packed linear layers of a model."""
    return [module for module in model.modules() if isinstance(module, PackedLinear)]
