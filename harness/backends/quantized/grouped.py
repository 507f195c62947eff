"""Linear layers with weights of up to four bits that share scales in groups, and activations in bfloat16: ``W4A16``.

The kernels are PyTorch's: on CUDA by tensor cores; on the CPU fast for few rows, where the processor has AVX-512.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from harness.backends.quantized.layer import PackedLinear

_GROUPS = (256, 128, 64, 32)  # weights that may share a scale
_SHIFT = 8  # the kernels take integers of 0 to 15, and take 8 off
_TILES = (8, 4, 2)  # of 16 inputs, that a group of CUDA threads reads at once
_OUTPUTS = {"cpu": 16, "cuda": 8}  # the number of outputs is a multiple of this
_MOST_BITS = 4


def group_for(inputs: int, groups: int) -> int | None:
    """Number of weights that share a scale in a kernel, for weights with so many scales an output; None for none."""
    shared = inputs // groups
    return next((size for size in _GROUPS if shared % size == 0), None)


def supports(device: str, outputs: int, inputs: int, groups: int, bits: int) -> bool:
    """Whether a device has a kernel for a matrix of this shape."""
    multiple = _OUTPUTS.get(device)
    if multiple is None or outputs % multiple or bits > _MOST_BITS or group_for(inputs, groups) is None:
        return False
    return device == "cpu" or any(inputs % (16 * tiles) == 0 for tiles in _TILES)


class GroupedLinear(PackedLinear):
    """A linear layer with weights of at most four bits, a scale and perhaps a zero point for each group of them.

    Args:
        integers: The weights, int8 from -8 to 7, shape (outputs, inputs); see ``supports``.
        scale: Value of one unit: shape (outputs, groups).
        zero: Integer that stands for 0, by group; None where that is 0.
        bias: Shape (outputs,), or None.
        bits: Bits of a weight.
        dtype: Type of the results.
    """

    activation_bits = 16

    def __init__(
        self,
        integers: Tensor,
        scale: Tensor,
        zero: Tensor | None,
        bias: Tensor | None,
        *,
        bits: int,
        dtype: torch.dtype,
    ) -> None:
        super().__init__(integers.shape, bias, bits=bits, dtype=dtype)
        device = integers.device.type
        size = group_for(self.in_features, scale.shape[1])
        if size is None:
            raise ValueError(f"no kernel for {scale.shape[1]} scales for {self.in_features} weights")
        self._group = size
        offset = torch.zeros_like(scale, dtype=torch.float32) if zero is None else -zero.float() * scale.float()
        pairs = torch.stack([scale.float(), offset], -1).repeat_interleave(
            self.in_features // size // scale.shape[1], 1
        )
        self._scales_and_offsets = pairs.transpose(0, 1).to(torch.bfloat16).contiguous()
        shifted = integers.to(torch.int32) + _SHIFT
        ops = torch.ops.aten
        if device == "cpu":
            self._packed: Tensor = ops._convert_weight_to_int4pack_for_cpu(shifted, 1)
            self._multiply: Callable[..., Tensor] = ops._weight_int4pack_mm_for_cpu
        else:
            tiles = next(tiles for tiles in _TILES if self.in_features % (16 * tiles) == 0)
            two_a_byte = (shifted[:, ::2] << 4 | shifted[:, 1::2]).to(torch.uint8)
            self._packed = ops._convert_weight_to_int4pack(two_a_byte, tiles)
            self._multiply = ops._weight_int4pack_mm

    @property
    def kernel(self) -> str:
        """Name of what computes the products."""
        return "Int4Pack"

    def multiply(self, x: Tensor) -> Tensor:
        """See ``PackedLinear``."""
        rows = x.reshape(-1, self.in_features).to(torch.bfloat16)
        return self._multiply(rows, self._packed, self._group, self._scales_and_offsets)
