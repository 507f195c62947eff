"""Models with random weights, made on the device: dense in bfloat16, and the same shape with 4-bit weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from harness.backends.linear import PrepackedLinear
from harness.backends.quantized.convert import arithmetic
from harness.backends.quantized.grouped import GroupedLinear, supports
from harness.weights.size import read_config

SHAPES = Path(__file__).parents[2] / "harness/pools/shapes"
BITS = 4
GROUP = 128
"""Weights that share a scale."""
_LARGEST = 7  # integers are -8 to 7
_SCALE_BYTES = 2
TINY: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 259,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}
"""Shape ``tiny``, for trying the script itself."""


def config_of(shape: str) -> Any:
    """The configuration of a shape of ``harness/pools/shapes``, or of ``tiny``, without a token that ends answers."""
    from transformers import Qwen3Config

    config = Qwen3Config(**TINY) if shape == "tiny" else read_config(SHAPES / f"{shape}.json")
    config.eos_token_id = None
    return config


@torch.inference_mode()
def random_model(shape: str, device: str, *, packed: bool) -> PreTrainedModel:
    """A model of this shape in bfloat16, drawn and packed on the device: nothing is read, and no CPU quantizes."""
    torch.manual_seed(0)
    load: Any = AutoModelForCausalLM.from_config
    with torch.device(device):
        model: PreTrainedModel = load(config_of(shape), dtype=torch.bfloat16, attn_implementation="eager")
    if model.device.type != torch.device(device).type:
        nn.Module.to(model, device)
    model.train(False).requires_grad_(False)
    if packed:
        pack(model, GROUP)
    return model


@torch.inference_mode()
def pack(model: PreTrainedModel, group: int | None, *, zeros: bool = False) -> None:
    """Round the linear layers of a model, its head apart, to 4 bits and pack them, in place, one by one.

    Args:
        model: The model, on its device.
        group: Weights that share a scale; None for all weights of an output.
        zeros: Whether groups have zero points, of the middle of their range.
    """
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.Linear and layer is not head:
                setattr(parent, name, grouped(layer, group, zeros=zeros))


@torch.inference_mode()
def grouped(layer: nn.Linear, group: int | None, *, zeros: bool = False) -> GroupedLinear:
    """A linear layer, rounded to the nearest of 16 steps for each group.

    Raises:
        ValueError: there is no kernel for it on this device.
    """
    weight = layer.weight.detach().float()
    outputs, inputs = weight.shape
    size = inputs if group is None else group
    if inputs % size or not supports(weight.device.type, outputs, inputs, inputs // size, BITS):
        raise ValueError(f"no kernel for {outputs} x {inputs} weights in groups of {size} on {weight.device.type}")
    whole = weight.view(outputs, -1, size)
    zero = None
    if zeros:
        low, high = whole.amin(-1), whole.amax(-1)
        scale = ((high - low) / (2 * _LARGEST + 1)).clamp_min(1e-30)
        zero = (-_LARGEST - 1 - low / scale).round().clamp(-_LARGEST - 1, _LARGEST).to(torch.int8)
    else:
        scale = (whole.abs().amax(-1) / _LARGEST).clamp_min(1e-30)
    shifted = whole / scale[..., None] + (0 if zero is None else zero.float()[..., None])
    integers = shifted.round().clamp(-_LARGEST - 1, _LARGEST).to(torch.int8).view(outputs, inputs)
    return GroupedLinear(integers, scale, zero, layer.bias, bits=BITS, dtype=layer.weight.dtype)


def facts(name: str, shape: str, model: PreTrainedModel, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a speed card says of a model."""
    computes = arithmetic(model)
    parameters = stored = 0
    for module in model.modules():
        if isinstance(module, GroupedLinear):
            count = module.out_features * module.in_features
            parameters += count
            stored += count * BITS // 8 + count // GROUP * _SCALE_BYTES
        elif isinstance(module, PrepackedLinear):  # on a CPU that multiplies bfloat16
            count = module.out_features * module.in_features
            parameters += count
            stored += 2 * count
    for parameter in {one.data_ptr(): one for one in model.parameters()}.values():
        parameters += parameter.numel()
        stored += parameter.nbytes
    drawn = f"random weights of shape {shape}, seed 0, {computes or 'bfloat16'}"
    details = {"weights": "random", "device": str(model.device), "dtype": "bfloat16"}
    return {
        "model": name,
        "parameters": parameters,
        "weight_bytes": stored,
        "bits": round(8 * stored / parameters, 3),
        "fingerprint": hashlib.sha256(drawn.encode()).hexdigest(),
        "details": {**details, **({"arithmetic": computes} if computes else {})},
        "backend": "transformers",
        "options": dict(options),
        "random": True,
    }
