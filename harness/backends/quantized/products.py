"""Exact products of rows of 8-bit integers with a matrix of integer weights, on the CPU.

Sums of integers do not depend on their order, so every kernel gives the same bits for a row, whatever the other rows of
the batch are. Kernels differ in speed and, on processors without instructions for such sums, in whether they are exact:
there FBGEMM adds pairs of products in 16 bits, which 4-bit weights never overflow and 8-bit weights may.
``product_of`` tries all of them on the shape at hand, and takes the fastest of those that are exact: for few rows and
for many of them, since a kernel that is made for one row of a decoding pass need not be the one for a prompt.

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
_MANY = 32
"""Rows from which a product is one of many rows: about there oneDNN overtakes FBGEMM on processors with VNNI or AMX."""
_TRIED_FEW, _TRIED_MANY = (1, 16), 64
_WORTH_A_COPY = 0.8
"""Share of the time for many rows at which a second kernel is worth its own copy of the weights."""
_MOST_OUTPUTS = 2048  # of the matrix that kernels are tried with
_REPEATS = 3


class Product(ABC):
    """Weights of shape (outputs, inputs), int8, with a scale for each output, laid out for a kernel."""

    @property
    def name(self) -> str:
        """Name of the kernel."""
        return type(self).__name__

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


class ByRows(Product):
    """One kernel for few rows and another for many, each with its own copy of the weights."""

    def __init__(self, few: Product, many: Product) -> None:
        self._few, self._many = few, many

    @property
    def name(self) -> str:
        """See ``Product``."""
        return f"{self._few.name}, from {_MANY} rows {self._many.name}"

    def __call__(self, rows: Tensor) -> Tensor:
        """See ``Product``."""
        return (self._few if len(rows) < _MANY else self._many)(rows)

    def weight(self) -> Tensor:
        """See ``Product``."""
        return self._few.weight()


Kernel = Callable[[Tensor, Tensor], Product]
"""Lays out weights, shape (outputs, inputs), with their scales, shape (outputs,)."""

INTEGER_KERNELS: tuple[Kernel, ...] = (IntMM, Fbgemm, FbgemmHalves)


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


def product_of(weight: Tensor, scale: Tensor, bits: int) -> Product:
    """The weights, laid out for the fastest exact kernels of this processor.

    Args:
        weight: Integers, int8, shape (outputs, inputs).
        scale: Value of one unit, by output: shape (outputs,).
        bits: Bits of a weight.
    """
    outputs, inputs = weight.shape
    few, many = _fastest(min(outputs, _MOST_OUTPUTS), inputs, bits, torch.get_num_threads())
    return few(weight, scale) if few is many else ByRows(few(weight, scale), many(weight, scale))


@cache
@torch.inference_mode()
def _fastest(outputs: int, inputs: int, bits: int, _threads: int) -> tuple[Kernel, Kernel]:
    """The kernels for few and for many rows.

    They are timed on few outputs: which of them is the fastest does not depend on their number.
    """
    generator = torch.Generator().manual_seed(0)
    least, most = -(1 << bits - 1), (1 << bits - 1) - 1
    weight = torch.randint(least, most + 1, (outputs, inputs), generator=generator, dtype=torch.int8)
    weight[0], weight[-1] = least, most  # the largest sums that there are
    scale = torch.rand(outputs, generator=generator) * 0.01 + 0.001
    rows = torch.randint(-ROW_LIMIT, ROW_LIMIT + 1, (_TRIED_MANY, inputs), generator=generator).float()
    rows[0] = ROW_LIMIT
    expected = (rows.double() @ weight.double().t()).float() * scale
    few: dict[Kernel, float] = {}
    many: dict[Kernel, float] = {}
    for kernel in INTEGER_KERNELS:
        try:
            product = kernel(weight, scale)
            exact = torch.equal(product(rows), expected) and torch.equal(product(rows[:1]), expected[:1])
        except (RuntimeError, NotImplementedError):  # this build of PyTorch, or this processor, does not have it
            continue
        if exact:
            few[kernel] = sum(_seconds(product, rows[:count]) for count in _TRIED_FEW)
            many[kernel] = _seconds(product, rows)
    if not few:
        return Float, Float
    first, second = min(few, key=few.__getitem__), min(many, key=many.__getitem__)
    return first, second if many[second] < _WORTH_A_COPY * many[first] else first


def _seconds(product: Product, rows: Tensor) -> float:
    """Shortest time of a few products."""
    times = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        product(rows)
        times.append(time.perf_counter() - began)
    return min(times)
