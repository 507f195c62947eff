"""Sizes of models, computed from their configurations alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.errors import MixrouteError
from harness.text import one_line
from harness.weights.schemes import SCHEMES

GIB = float(1 << 30)

_WIDE = 2
"""Bytes of a weight, scale or cached value in bfloat16."""


@dataclass(frozen=True, slots=True)
class Packing:
    """Format of packed linear layers."""

    bits: int
    group: int
    """Weights that share a scale; 0 where all weights of an output do, whose scales are not counted."""
    zeros: bool
    """Whether a group has a zero point too, of as many bits as a weight."""

    @property
    def bytes_each(self) -> float:
        """Bytes of a weight, with its part of the scale and the zero point."""
        shared = _WIDE + (self.bits / 8 if self.zeros else 0)
        return self.bits / 8 + (shared / self.group if self.group else 0)


@dataclass(frozen=True, slots=True)
class Size:
    """Size of one model, as stored."""

    parameters: int
    packed: int
    """Parameters in linear layers, the head apart: those that a quantizer packs."""
    cached_values: int
    """Keys and values of a token: ``2 * layers * key-value heads * head width``."""
    context: int
    """Longest prompt with its answer, in tokens."""

    def weight_bytes(self, packing: Packing | None = None, wide: int = _WIDE) -> int:
        """Bytes of the weights: ``wide`` bytes a weight, except in linear layers that are packed."""
        each = wide if packing is None else packing.bytes_each
        return round((self.parameters - self.packed) * wide + self.packed * each)

    def cache_bytes(self, tokens: int) -> int:
        """Bytes of the keys and values of ``tokens`` tokens, in bfloat16."""
        return tokens * self.cached_values * _WIDE


_AT_LOAD = {"nf4": Packing(4, 32, zeros=False), "int8": Packing(8, 0, zeros=False)}
"""Packing by bitsandbytes; NF4 has a float32 scale for 64 weights, as many bytes as a bfloat16 scale for 32."""

INTEGERS = Packing(8, 0, zeros=False)
"""Weights of up to 8 bits with a scale for each output, as kernels for integers on a CPU hold them."""


@cache
def size_of(shape: str) -> Size:
    """The size of a configuration.

    Args:
        shape: The configuration's file.

    Raises:
        MixrouteError: transformers cannot read it.
    """
    import torch
    from transformers import AutoModelForCausalLM

    config = read_config(shape)
    config.quantization_config = None  # the weights are counted as they are before packing
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    head = model.get_output_embeddings()
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear) and module is not head]
    text = config.get_text_config()
    return Size(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        packed=sum(module.weight.numel() for module in linear),
        cached_values=2 * text.num_hidden_layers * text.num_key_value_heads * _head_width(text),
        context=int(text.max_position_embeddings),
    )


def packing_of(shape: str, quantization: str) -> Packing | None:
    """Packing of a model of this shape: by the pool file's ``quantization``, else by its configuration.

    Raises:
        MixrouteError: the configuration cannot be read, or the scheme does not fit it.
    """
    if quantization in SCHEMES:
        scheme = SCHEMES[quantization]
        group = 0 if scheme.per_channel else scheme.group(widths_of(shape))
        return Packing(scheme.bits, group, zeros=not scheme.symmetric)
    if quantization in _AT_LOAD:
        return _AT_LOAD[quantization]
    packed = getattr(read_config(shape), "quantization_config", None)
    return None if packed is None else Packing(packed["bits"], packed["group_size"], bool(packed.get("zero_point")))


def widths_of(shape: str) -> tuple[int, ...]:
    """Input widths of a model's linear layers, without the head."""
    text = read_config(shape).get_text_config()
    return text.hidden_size, text.intermediate_size, text.num_attention_heads * _head_width(text)


def _head_width(text: Any) -> int:  # noqa: ANN401 - transformers' configuration classes share no useful type
    return getattr(text, "head_dim", None) or int(text.hidden_size // text.num_attention_heads)


def read_config(shape: str | Path) -> Any:  # noqa: ANN401 - transformers' configuration classes share no useful type
    """The configuration in a file.

    Raises:
        MixrouteError: transformers cannot read it.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(str(shape))
    except (OSError, ValueError, KeyError) as error:
        raise MixrouteError(f"shape {shape} cannot be read: {one_line(error)}") from error
