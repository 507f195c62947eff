"""What all packed linear layers have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn


class PackedLinear(nn.Module, ABC):
    """A linear layer whose weights stay in few bits.

    Args:
        shape: Numbers of outputs and inputs.
        bias: Shape (outputs,), or None.
        bits: Bits of a weight.
        dtype: Type of the results.
    """

    activation_bits: ClassVar[int]
    """Bits of an activation in the products."""

    def __init__(self, shape: torch.Size, bias: Tensor | None, *, bits: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.out_features, self.in_features = shape
        self.bias = bias
        self.bits = bits
        self.dtype = dtype

    @property
    @abstractmethod
    def kernel(self) -> str:
        """Name of what computes the products."""

    @property
    def arithmetic(self) -> str:
        """Bits of weights and activations in the products, as in ``W4A8``."""
        return f"W{self.bits}A{self.activation_bits}"

    @abstractmethod
    def multiply(self, x: Tensor) -> Tensor:
        """Products of all rows with the weights: shape (..., inputs) to (rows, outputs), of any type."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer: shape (..., inputs) to (..., outputs)."""
        y = self.multiply(x)
        if self.bias is not None:
            y = y + self.bias
        return y.to(self.dtype).view(*x.shape[:-1], self.out_features)
