"""Layers with weights in groups, against the weights that they stand for."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.backends.quantized.grouped import GroupedLinear, supports

ROUNDING = 0.02
"""Largest error, as a share of the largest result: bfloat16 has 8 bits, and rows, scales, offsets and results are
rounded to it."""


@torch.inference_mode()
def error_of_grouped_layer(
    device: str, bits: int, *, group: int | None, zeros: bool, outputs: int = 32, inputs: int = 256, rows: int = 9
) -> float:
    """Largest difference between a random layer and its dequantized weights, as a share of the largest result.

    Args:
        device: What the kernel runs on.
        bits: Bits of a weight.
        group: Weights that share a scale; None for all weights of an output.
        zeros: Whether groups have zero points.
        outputs: Rows of the matrix.
        inputs: Columns of the matrix.
        rows: Rows that it is multiplied with.
    """
    generator = torch.Generator().manual_seed(group or 1)
    least, most = -(1 << bits - 1), (1 << bits - 1) - 1
    integers = torch.randint(least, most + 1, (outputs, inputs), generator=generator, dtype=torch.int8)
    scale = torch.rand(outputs, inputs // (group or inputs), generator=generator) * 0.1 + 0.01
    zero = torch.randint(least, most + 1, scale.shape, generator=generator, dtype=torch.int8) if zeros else None
    bias = torch.randn(outputs, generator=generator)
    x = torch.randn(rows, inputs, generator=generator)
    assert supports(device, outputs, inputs, scale.shape[1], bits)
    placed = [None if one is None else one.to(device) for one in (integers, scale, zero, bias)]
    layer = GroupedLinear(*placed, bits=bits, dtype=torch.float32)  # type: ignore[arg-type]
    whole = integers.float().view(*scale.shape, -1)
    weight = ((whole - (0 if zero is None else zero.float()[..., None])) * scale[..., None]).flatten(1)
    expected = x @ weight.t() + bias
    found: Tensor = layer(x.to(device)).cpu()
    return float((found - expected).abs().max() / expected.abs().max())
