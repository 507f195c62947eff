"""Exact products of rows of 8-bit integers with a matrix of integer weights, on the CPU.

Sums of integers do not depend on their order, so every kernel gives the same bits for a row, whatever the other rows of
the batch are. Kernels differ in speed and, on processors without instructions for such sums, in whether they are exact:
there FBGEMM adds pairs of products in 16 bits, which 4-bit weights never overflow and 8-bit weights may. ``fastest``
tries all of them on the shape at hand, and takes the fastest of those that are exact.

Quantized tensors of PyTorch, which FBGEMM's weights are packed from, are deprecated. Where they are gone, kernels that
need them are not available, and the others are tried.
"""

from __future__ import annotations

import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import linear

ROW_LIMIT = 127
"""Largest magnitude of an entry of a row; -128 is left out, so that rows are symmetric."""

_EXACT = 1 << 24
"""Integers up to this magnitude are exact in float32."""
_TRIED_ROWS = (1, 16)
_MOST_OUTPUTS = 2048  # of the matrix that kernels are tried with
_REPEATS = 3


class Product(ABC):
    """Weights of shape (outputs, inputs), int8, with a scale for each output, laid out for one kernel."""

    @abstractmethod
    def __init__(self, weight: Tensor, scale: Tensor) -> None: ...

    @abstractmethod
    def __call__(self, rows: Tensor) -> Tensor:
        """Sums of the products, times the scale of the output: shape (rows, inputs), integers in float32, to (rows,
        outputs), float32.
        """

    @abstractmethod
    def weight(self) -> Tensor:
        """The weights as they were given."""


class IntMM(Product):
    """``torch._int_mm``: oneDNN where the processor has VNNI, a plain loop elsewhere."""

    def __init__(self, weight: Tensor, scale: Tensor) -> None:
        self._weight, self._scale = weight.contiguous(), scale

    def __call__(self, rows: Tensor) -> Tensor:
        """See ``Product``."""
        return torch._int_mm(rows.to(torch.int8), self._weight.t()).float().mul_(self._scale)

    def weight(self) -> Tensor:
        """See ``Product``."""
        return self._weight


class Fbgemm(Product):
    """FBGEMM's product of unsigned rows with prepacked weights, which rounds the rows itself."""

    def __init__(self, weight: Tensor, scale: Tensor) -> None:
        self._packed = _fbgemm_packed(weight, scale)

    def __call__(self, rows: Tensor) -> Tensor:
        """See ``Product``."""
        return _fbgemm(rows, self._packed)

    def weight(self) -> Tensor:
        """See ``Product``."""
        return _fbgemm_unpacked(self._packed)


class FbgemmHalves(Product):
    """8-bit weights as 16 times the upper four bits plus the lower four, each by FBGEMM, exact on every processor."""

    def __init__(self, weight: Tensor, scale: Tensor) -> None:
        ones = torch.ones_like(scale)
        upper = weight >> 4
        self._upper, self._lower = _fbgemm_packed(upper, ones), _fbgemm_packed(weight - (upper << 4), ones)
        self._scale = scale

    def __call__(self, rows: Tensor) -> Tensor:
        """See ``Product``."""
        sums = _fbgemm(rows, self._upper).to(torch.int32).mul_(16).add_(_fbgemm(rows, self._lower).to(torch.int32))
        return sums.float().mul_(self._scale)

    def weight(self) -> Tensor:
        """See ``Product``."""
        return _fbgemm_unpacked(self._upper) * 16 + _fbgemm_unpacked(self._lower)


class Float(Product):
    """Products in float32, in blocks of inputs so short that their sums are exact. No faster than unpacked weights, and
    no smaller: for processors that the others do not know.
    """

    def __init__(self, weight: Tensor, scale: Tensor) -> None:
        most = int(weight.abs().max()) * ROW_LIMIT if weight.numel() else 1
        self._block = max(1, _EXACT // max(1, most))
        self._weight, self._scale = weight.float(), scale

    def __call__(self, rows: Tensor) -> Tensor:
        """See ``Product``."""
        if rows.shape[1] <= self._block:
            return linear(rows, self._weight).mul_(self._scale)
        blocks = [slice(start, start + self._block) for start in range(0, rows.shape[1], self._block)]
        parts = [linear(rows[:, block], self._weight[:, block]).to(torch.int32) for block in blocks]
        total = torch.stack(parts).sum(0, dtype=torch.int32)
        return total.float().mul_(self._scale)

    def weight(self) -> Tensor:
        """See ``Product``."""
        return self._weight.to(torch.int8)


INTEGER_KERNELS: tuple[type[Product], ...] = (IntMM, Fbgemm, FbgemmHalves)


def _fbgemm_packed(weight: Tensor, scale: Tensor) -> torch.ScriptObject:
    zeros = torch.zeros(len(scale), dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # deprecated, see above
        quantized = torch._make_per_channel_quantized_tensor(weight.contiguous(), scale.double(), zeros, 0)
    packed: torch.ScriptObject = torch.ops.quantized.linear_prepack(quantized, None)
    return packed


def _fbgemm(rows: Tensor, packed: torch.ScriptObject) -> Tensor:
    product: Callable[..., Tensor] = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32
    return product(rows, 1.0, ROW_LIMIT + 1, packed)


def _fbgemm_unpacked(packed: torch.ScriptObject) -> Tensor:
    weight: Tensor = torch.ops.quantized.linear_unpack(packed)[0].int_repr()
    return weight


def fastest(outputs: int, inputs: int, bits: int) -> type[Product]:
    """The fastest exact kernel on this processor for a matrix of weights of so many bits."""
    return _fastest(min(outputs, _MOST_OUTPUTS), inputs, bits, torch.get_num_threads())


@cache
@torch.inference_mode()
def _fastest(outputs: int, inputs: int, bits: int, _threads: int) -> type[Product]:
    """Kernels are timed on few outputs: which of them is the fastest does not depend on their number."""
    generator = torch.Generator().manual_seed(0)
    least, most = -(1 << bits - 1), (1 << bits - 1) - 1
    weight = torch.randint(least, most + 1, (outputs, inputs), generator=generator, dtype=torch.int8)
    weight[0], weight[-1] = least, most  # the largest sums that there are
    scale = torch.rand(outputs, generator=generator) * 0.01 + 0.001
    rows = torch.randint(-ROW_LIMIT, ROW_LIMIT + 1, (max(_TRIED_ROWS), inputs), generator=generator).float()
    rows[0] = ROW_LIMIT
    expected = (rows.double() @ weight.double().t()).float() * scale
    seconds: dict[type[Product], float] = {}
    for kernel in INTEGER_KERNELS:
        try:
            product = kernel(weight, scale)
            exact = torch.equal(product(rows), expected) and torch.equal(product(rows[:1]), expected[:1])
        except (RuntimeError, NotImplementedError):  # this build of PyTorch, or this processor, does not have it
            continue
        if exact:
            seconds[kernel] = sum(_seconds(product, rows[:count]) for count in _TRIED_ROWS)
    return min(seconds, key=lambda kernel: seconds[kernel], default=Float)


def _seconds(product: Product, rows: Tensor) -> float:
    """Shortest time of a few products."""
    times = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        product(rows)
        times.append(time.perf_counter() - began)
    return min(times)
