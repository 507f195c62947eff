"""Linear layers that read the same rows, joined to one with all their outputs: where it can be, one product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harness.backends.linear import linear_of
from harness.backends.quantized.integer import IntegerLinear


class SideBySide(nn.Module):
    """Layers whose weights are laid out for kernels of their own: several products, then one result."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers: shape (..., inputs) to (..., outputs of all)."""
        return torch.cat([layer(x) for layer in self.layers], -1)


def join(layers: Sequence[Any]) -> nn.Module:
    """A layer with the outputs of all, one after the other."""
    kinds = {type(layer) for layer in layers}
    if kinds == {nn.Linear}:
        weights = [layer.weight.detach() for layer in layers]
        if len({(weight.shape[1], weight.dtype, weight.device) for weight in weights}) == 1:
            return linear_of(torch.cat(weights), _biases(layers))
    if kinds == {IntegerLinear}:
        integers, scales = [layer.integers for layer in layers], [layer.scale for layer in layers]
        if len({(layer.in_features, layer.bits, layer.dtype, layer.quantize) for layer in layers}) == 1:
            joined: IntegerLinear = layers[0].with_weights(torch.cat(integers), torch.cat(scales), _biases(layers))
            return joined
    return SideBySide(layers)


def _biases(layers: Sequence[Any]) -> Tensor | None:
    """The biases in one, zeros where a layer has none; None if none has one."""
    known = next((layer.bias for layer in layers if layer.bias is not None), None)
    if known is None:
        return None
    return torch.cat([known.new_zeros(one.out_features) if one.bias is None else one.bias.detach() for one in layers])


def split(joined: nn.Module, outputs: Sequence[int]) -> list[nn.Module]:
    """The layers that were joined, by their numbers of outputs."""
    if isinstance(joined, SideBySide):
        return list(joined.layers)
    sizes = list(outputs)
    layer: Any = joined
    biases = [None] * len(sizes) if layer.bias is None else torch.split(layer.bias.detach(), sizes)
    if isinstance(joined, IntegerLinear):
        integers, scales = torch.split(joined.integers, sizes), torch.split(joined.scale, sizes)
        return [joined.with_weights(*part) for part in zip(integers, scales, biases, strict=True)]
    weights = torch.split(layer.weight.detach(), sizes)
    return [linear_of(weight, bias) for weight, bias in zip(weights, biases, strict=True)]
