"""Linear layers that read the same rows, joined to one with all their outputs: where it can be, one product."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from harness.backends.quantized.integer import IntegerLinear


class SideBySide(nn.Module):
    """Layers whose weights are laid out for kernels of their own: several products, then one result."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers: shape (..., inputs) to (..., outputs of all)."""
        return torch.cat([layer(x) for layer in self.layers], -1)


def join(layers: Sequence[nn.Module]) -> nn.Module:
    """A layer with the outputs of all, one after the other."""
    joined = None
    if all(type(layer) is nn.Linear for layer in layers):
        joined = _join_dense([layer for layer in layers if isinstance(layer, nn.Linear)])
    if all(isinstance(layer, IntegerLinear) for layer in layers):
        joined = _join_integers([layer for layer in layers if isinstance(layer, IntegerLinear)])
    return SideBySide(layers) if joined is None else joined


def _join_dense(layers: list[nn.Linear]) -> nn.Module | None:
    weights = [layer.weight.detach() for layer in layers]
    if len({(weight.shape[1], weight.dtype, weight.device) for weight in weights}) > 1:
        return None
    return _dense(torch.cat(weights), _biases(layers))


def _join_integers(layers: list[IntegerLinear]) -> nn.Module | None:
    first = layers[0]
    if len({(layer.in_features, layer.bits, layer.dtype, layer.quantize) for layer in layers}) > 1:
        return None
    return IntegerLinear(
        torch.cat([layer.integers for layer in layers]),
        torch.cat([layer.scale for layer in layers]),
        _biases(layers),
        bits=first.bits,
        quantize=first.quantize,
        dtype=first.dtype,
    )


def _biases(layers: Sequence[nn.Linear | IntegerLinear]) -> Tensor | None:
    """The biases in one, zeros where a layer has none; None if none has one."""
    known = next((layer.bias for layer in layers if layer.bias is not None), None)
    if known is None:
        return None
    return torch.cat([known.new_zeros(one.out_features) if one.bias is None else one.bias.detach() for one in layers])


def part(layer: nn.Module, outputs: slice) -> nn.Module:
    """The layer with these outputs of a joined one."""
    if isinstance(layer, SideBySide):
        ends = list(accumulate(int(one.out_features) for one in layer.layers))  # type: ignore[arg-type]
        return layer.layers[ends.index(outputs.stop)]
    bias: Tensor | None = layer.bias  # type: ignore[assignment]
    bias = None if bias is None else bias.detach()[outputs]
    if isinstance(layer, IntegerLinear):
        return IntegerLinear(
            layer.integers[outputs],
            layer.scale[outputs],
            bias,
            bits=layer.bits,
            quantize=layer.quantize,
            dtype=layer.dtype,
        )
    weight: Tensor = layer.weight  # type: ignore[assignment]
    return _dense(weight.detach()[outputs], bias)


def _dense(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    layer.register_parameter("bias", None if bias is None else nn.Parameter(bias, requires_grad=False))
    return layer.train(False)
