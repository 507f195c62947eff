"""Products of single linear layers with dense and with packed weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from tests.gpu.models import GROUP, config_of, grouped
from tests.gpu.results import Budget, Results

_ENOUGH_BYTES = 256 << 20  # of dense weights that are read in turn, so that no cache of the device holds them
_MOST_COPIES = 32


@dataclass(frozen=True, slots=True)
class Plan:
    """The measurements to make."""

    device: str
    concurrencies: Sequence[int]
    lengths: Sequence[int]
    decode: int
    rows: Sequence[int]
    """Rows of the products."""


def synchronize(device: str) -> None:
    """Wait until the device has computed all that it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def seconds_of(device: str, work: Callable[[], object]) -> float:
    """Seconds that the device takes for what ``work`` gives it."""
    synchronize(device)
    began = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - began


@torch.inference_mode()
def time_products(results: Results, shape: str, plan: Plan, budget: Budget) -> None:
    """Seconds of each linear layer of a shape with dense and with packed weights, for several numbers of rows."""
    with torch.device("meta"):
        skeleton: Any = _skeleton(shape)
    head = skeleton.get_output_embeddings()
    sizes = {
        (layer.out_features, layer.in_features): 0
        for layer in skeleton.modules()
        if isinstance(layer, nn.Linear) and layer is not head
    }
    for outputs, inputs in sizes:
        if budget.left < 0:
            results.add("products", shape=shape, outputs=outputs, inputs=inputs, skipped=True)
            continue
        copies = max(1, min(_MOST_COPIES, _ENOUGH_BYTES // (2 * outputs * inputs))) if plan.device != "cpu" else 1
        dense = [
            nn.Linear(inputs, outputs, bias=False, device=plan.device, dtype=torch.bfloat16) for _ in range(copies)
        ]
        packed = [grouped(layer, GROUP) for layer in dense]
        for rows in plan.rows:
            x = torch.randn(rows, inputs, device=plan.device, dtype=torch.bfloat16)
            found = {"dense": _each(plan.device, dense, x), "packed": _each(plan.device, packed, x)}
            again = {"dense": _each(plan.device, dense, x), "packed": _each(plan.device, packed, x)}
            micros = {f"{name}_us": round(1e6 * min(found[name], again[name]), 2) for name in found}
            results.add("products", shape=shape, outputs=outputs, inputs=inputs, rows=rows, **micros)


def _skeleton(shape: str) -> Any:
    load: Any = AutoModelForCausalLM.from_config
    return load(config_of(shape))


def _each(device: str, layers: Sequence[nn.Module], x: Tensor) -> float:
    """Seconds of one product, all layers in turn, after a round that is not timed."""

    def work(rounds: int) -> None:
        for _ in range(rounds):
            for layer in layers:
                layer(x)

    work(1)
    rounds = max(1, 32 // len(layers)) if device != "cpu" else 2
    return seconds_of(device, lambda: work(rounds)) / (rounds * len(layers))
