"""Linear layers with weights prepacked for oneDNN, for models that compute on the CPU.

PyTorch gives a float32 product on the CPU to MKL, which on processors of AMD runs at under half of what a core can do,
and packs bfloat16 weights for oneDNN at each call. Prepacked once, both go through oneDNN at the speed of the core
(tests/benchmarks/test_linear.py; docs/backends.md has figures). The rounding is as good, but not bit for bit the same.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class PrepackedLinear(nn.Module):
    """A linear layer whose weight is held in oneDNN's blocked layout only."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_features = layer.in_features
        self.out_features = layer.out_features
        self._weight: Tensor = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())
        self._bias = None if layer.bias is None else layer.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer: shape (..., in features) to (..., out features), like ``nn.Linear``."""
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")
        return y

    def restored(self) -> nn.Linear:
        """The plain layer that this one was made of."""
        return linear_of(self._weight.to_dense(), self._bias)


def linear_of(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A plain linear layer with these weights: shape (outputs, inputs) and (outputs,)."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    layer.register_parameter("bias", None if bias is None else nn.Parameter(bias, requires_grad=False))
    return layer.train(False)


def replace_modules(model: nn.Module, made: Callable[[nn.Module], nn.Module | None]) -> None:
    """Put another module in the place of each part of a model for which ``made`` returns one."""
    for parent in list(model.modules()):
        for name, part in list(parent.named_children()):
            if (other := made(part)) is not None:
                setattr(parent, name, other)


def prepacked_types() -> list[torch.dtype]:
    """Types whose products oneDNN computes on this processor; none where PyTorch is built without it."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return []
    return [torch.float32, *([torch.bfloat16] if torch.ops.mkldnn._is_mkldnn_bf16_supported() else [])]


@torch.inference_mode()
def prepack_linear_layers(model: nn.Module) -> None:
    """Prepack the plain linear layers of a model, in place. Layers on other devices than the CPU stay as they are, and
    so do types that oneDNN does not compute in on this processor (bfloat16 on one without the instructions for it).
    """
    types = prepacked_types()

    def made(part: nn.Module) -> nn.Module | None:
        plain = type(part) is nn.Linear and part.weight.device.type == "cpu" and part.weight.dtype in types
        return PrepackedLinear(part) if plain else None  # type: ignore[arg-type]

    replace_modules(model, made)


@torch.inference_mode()
def restore_linear_layers(model: nn.Module) -> None:
    """Undo ``prepack_linear_layers``: the same weights, in plain linear layers."""
    replace_modules(model, lambda part: part.restored() if isinstance(part, PrepackedLinear) else None)
