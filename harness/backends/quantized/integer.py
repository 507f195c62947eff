"""Linear layers and embeddings with integer weights, a scale for each output: ``W4A8`` and ``W8A8``.

Each row of activations is quantized by itself, to 8 bits, symmetric: its largest magnitude becomes 127. Its products
with the weights are exact integer sums (``products``), so a row comes out the same, bit for bit, in any batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.backends.quantized.layer import PackedLinear
from harness.backends.quantized.products import ROW_LIMIT, product_of

_LEAST = 1e-30  # scale of a row of zeros


def quantize_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest integers, in float32, and the scale of each row: shape (rows, size) to itself and (rows, 1)."""
    scale = rows.abs().amax(-1, keepdim=True).clamp_min_(_LEAST).mul_(1 / ROW_LIMIT)
    return (rows / scale).round_(), scale


class RowQuantizer:
    """Quantizes rows to 8 bits. Layers of one model share it: several of them read the same rows in turn."""

    def __init__(self) -> None:
        self.terms = 1
        """Integers that an entry is the sum of: 1 in use. With 3, a row is as exact as in float32."""
        self._last: tuple[Tensor, list[tuple[Tensor, Tensor]]] | None = None

    def __call__(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Integers, in float32, and the scale of each row, by term: shape (..., size) to (rows, size) and (rows, 1)."""
        if self._last is not None and self._last[0] is x and len(self._last[1]) == self.terms:
            return self._last[1]
        rest = x.reshape(-1, x.shape[-1]).float()
        terms = [quantize_rows(rest)]
        while len(terms) < self.terms:
            integers, scale = terms[-1]
            rest = rest - integers * scale
            terms.append(quantize_rows(rest))
        self._last = (x, terms)
        return terms


class IntegerLinear(PackedLinear):
    """A linear layer with weights of a few bits and rows of 8 bits.

    Args:
        weight: Integers of the weights, int8, shape (outputs, inputs).
        scale: Value of one unit, by output: shape (outputs,).
        bias: Shape (outputs,), or None.
        bits: Bits of a weight.
        quantize: Shared by the layers of a model.
        dtype: Type of the results.
    """

    activation_bits = 8

    def __init__(
        self,
        weight: Tensor,
        scale: Tensor,
        bias: Tensor | None,
        *,
        bits: int,
        quantize: RowQuantizer,
        dtype: torch.dtype,
    ) -> None:
        super().__init__(weight.shape, None if bias is None else bias.float(), bits=bits, dtype=dtype)
        self.scale = scale.float()
        self.quantize = quantize
        self._product = product_of(weight, self.scale, bits)

    def with_weights(self, weight: Tensor, scale: Tensor, bias: Tensor | None) -> IntegerLinear:
        """A layer like this one with other weights; arguments as of the class."""
        return IntegerLinear(weight, scale, bias, bits=self.bits, quantize=self.quantize, dtype=self.dtype)

    @property
    def kernel(self) -> str:
        """Name of what computes the products."""
        return self._product.name

    @property
    def integers(self) -> Tensor:
        """Integers of the weights, int8, shape (outputs, inputs)."""
        return self._product.weight()

    @property
    def weight(self) -> Tensor:
        """The weights that the integers stand for, made anew at each access."""
        return (self.integers * self.scale[:, None]).to(self.dtype)

    def multiply(self, x: Tensor) -> Tensor:
        """See ``PackedLinear``."""
        (integers, scale), *finer = self.quantize(x)
        y = self._product(integers).mul_(scale)
        for integers, scale in finer:
            y += self._product(integers).mul_(scale)
        return y


class IntegerEmbedding(nn.Module):
    """An embedding with 8-bit weights, a scale for each token.

    Args:
        weight: Integers of the weights, int8, shape (tokens, size).
        scale: Value of one unit, by token: shape (tokens,).
        dtype: Type of the results.
        tied: Whether the head has the same weights.
    """

    def __init__(self, weight: Tensor, scale: Tensor, dtype: torch.dtype, *, tied: bool) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = weight.shape
        self.dtype = dtype
        self.tied = tied
        self.integers = weight
        self.scale = scale.float()

    def forward(self, ids: Tensor) -> Tensor:
        """Rows of these tokens: shape (...,) to (..., size)."""
        return (self.integers[ids] * self.scale[ids].unsqueeze(-1)).to(self.dtype)
