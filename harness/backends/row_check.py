"""Whether a model computes a row of a pass the same, to the last bit, whatever the other rows are."""

from __future__ import annotations

import inspect

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from harness.backends.linear import PrepackedLinear
from harness.backends.quantized.layer import PackedLinear

LEAST_ROWS = (1, 4, 8, 16)
"""Numbers of rows that are tried as the least of a pass."""
_ROWS = 300
_WHOLE = 288  # rows that every one of LEAST_ROWS divides
_PIECES = 48  # rows that are computed in pieces
_WIDE = 8192  # outputs of a layer, such as the head, that is tried with _PIECES rows only: 300 take time and memory
_SHARES = 16  # rows of which one more in each block goes to the first experts

Linear = nn.Linear | PrepackedLinear | Conv1D | PackedLinear


def least_rows(model: PreTrainedModel) -> int | None:
    """The smallest number of ``LEAST_ROWS`` from which on rows come out alike; None if there is none."""
    return next((rows for rows in LEAST_ROWS if row_invariant(model, rows)), None)


@torch.inference_mode()
def row_invariant(model: PreTrainedModel, least: int) -> bool:
    """Whether every linear layer and every group of experts computes a row the same, bit for bit, in a batch of
    ``least`` rows and in larger ones.

    One layer of each shape is tried with several numbers of rows up to 300 (48 for a head), and with the rows in
    another order. Some entries are large: LLM.int8 treats the columns of these apart, for all rows of a batch. Experts
    are tried with few rows for some and many for others, since that depends on the batch; those that cannot be tried
    do not pass.
    """
    tried: set[tuple[object, ...]] = set()
    for module in model.modules():
        kind = (type(module), *(tuple(parameter.shape) for parameter in module.parameters()))
        if isinstance(module, PrepackedLinear | PackedLinear):
            kind = (*kind, module.in_features, module.out_features)
        if kind in tried:
            continue
        tried.add(kind)
        if isinstance(module, Linear):
            try:
                if not _linear_passes(module, model, least):
                    return False
            except TypeError:  # a router of experts that is derived from a linear layer, and returns more
                return False
        elif _holds_experts(module) and not _experts_pass(module, model, least):
            return False
    return True


def _linear_passes(layer: Linear, model: PreTrainedModel, least: int) -> bool:
    width = layer.nx if isinstance(layer, Conv1D) else layer.in_features
    x = _rows(width, model)
    whole = layer(x[:_PIECES])
    wide = whole.shape[1] > _WIDE
    if not wide:
        whole = layer(x)[:_WHOLE]
    for rows in (least, least + 1, 17, 40, *(() if wide else (129,))):
        if not torch.equal(layer(x[:rows]), whole[:rows]):
            return False
    pieces = torch.cat([layer(x[start : start + least]) for start in range(0, _PIECES, least)])
    return torch.equal(pieces, whole[:_PIECES]) and torch.equal(layer(x[: len(whole)].flip(0)).flip(0), whole)


def _rows(width: int, model: PreTrainedModel) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(_ROWS, width, generator=generator)
    x[::37, ::11] *= 20
    return x.to(device=model.device, dtype=model.dtype)


def _holds_experts(module: nn.Module) -> bool:
    """Whether a module routes rows to experts: modules in a list, or a parameter with a matrix for each."""
    stacked = any(parameter.dim() == 3 for parameter in module.parameters(recurse=False))
    listed = isinstance(module, nn.ModuleList)
    return (stacked or listed) and "expert" in (type(module).__name__ + _names(module)).lower()


def _names(module: nn.Module) -> str:
    return "".join(type(child).__name__ for child in module.children())


def _experts_pass(experts: nn.Module, model: PreTrainedModel, least: int) -> bool:
    parameters = inspect.signature(experts.forward).parameters
    if [*parameters][:3] != ["hidden_states", "top_k_index", "top_k_weights"]:
        return False
    config = model.config.get_text_config()
    x = _rows(int(config.hidden_size), model)
    count = next(parameter.shape[0] for parameter in experts.parameters() if parameter.dim() == 3)
    few, rest = [0, min(1, count - 1)], [max(0, count - 2), count - 1]
    routes = torch.tensor([few if row % _SHARES <= row // _SHARES else rest for row in range(_ROWS)])
    routes = routes.to(model.device)
    shares = torch.full(routes.shape, 0.5, device=model.device, dtype=model.dtype)
    try:
        places = [slice(at, at + least) for at in range(0, _WHOLE, least)]
        pieces = [experts(x[place], routes[place], shares[:least]) for place in places]
        whole = experts(x, routes, shares)
    except Exception:  # another convention: it counts as failed, and costs speed only
        return False
    return torch.equal(torch.cat(pieces), whole[:_WHOLE])
