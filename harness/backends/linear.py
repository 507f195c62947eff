"""Linear layers in oneDNN's own layout, for models that compute on the CPU.

PyTorch gives a float32 product on the CPU to MKL, which on processors of AMD runs at under half of what a core can do,
and lays bfloat16 weights out anew at each call. Laid out once, both go through oneDNN at the speed of the core
(tests/benchmarks/test_linear.py; docs/backends.md has figures). The rounding is as good, but not the same bit for bit.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LaidOutLinear(nn.Module):
    """A linear layer whose weight is held in oneDNN's layout, and nowhere else."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_features = layer.in_features
        self.out_features = layer.out_features
        self._weight: Tensor = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())
        self._bias = None if layer.bias is None else layer.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """As ``nn.Linear``: (..., in features) to (..., out features)."""
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")
        return y


@torch.inference_mode()
def lay_out(model: nn.Module) -> None:
    """Lay out the plain linear layers of a model on the CPU; what is on other devices or of other types stays."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    types = [torch.float32]
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():  # else it refuses them
        types.append(torch.bfloat16)
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.Linear and layer.weight.device.type == "cpu" and layer.weight.dtype in types:
                setattr(parent, name, LaidOutLinear(layer))
