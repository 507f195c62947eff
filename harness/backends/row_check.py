"""Whether a model computes a row of a pass the same, to the last bit, whatever the other rows are."""

from __future__ import annotations

import inspect

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from harness.backends.linear import PrepackedLinear

MIN_ROWS = 16
_ROWS = 300
_STARTS = range(0, 288, MIN_ROWS)


@torch.inference_mode()
def row_invariant(model: PreTrainedModel) -> bool:
    """Whether every linear layer and every group of experts computes a row the same, bit for bit, in a batch of 16 rows
    and in larger ones.

    One layer of each shape is tried with 16, 17, 40, 129 and 300 rows, and with the rows in another order. Some
    entries are large: LLM.int8 treats the columns of these apart, for all rows of a batch. Experts are tried with
    few rows for some and many for others, since that depends on the batch; those that cannot be tried do not pass.
    """
    tried: set[tuple[object, ...]] = set()
    for module in model.modules():
        kind = (type(module), *(tuple(parameter.shape) for parameter in module.parameters()))
        if isinstance(module, PrepackedLinear):
            kind = (*kind, module.in_features, module.out_features)
        if kind in tried:
            continue
        tried.add(kind)
        if isinstance(module, nn.Linear | PrepackedLinear | Conv1D):
            try:
                if not _linear_passes(module, model):
                    return False
            except TypeError:  # a router of experts that is derived from a linear layer, and returns more
                return False
        elif _holds_experts(module) and not _experts_pass(module, model):
            return False
    return True


def _linear_passes(layer: nn.Linear | PrepackedLinear | Conv1D, model: PreTrainedModel) -> bool:
    width = layer.nx if isinstance(layer, Conv1D) else layer.in_features
    x = _rows(width, model)
    reference = torch.cat([layer(x[start : start + MIN_ROWS]) for start in _STARTS])
    for rows in (MIN_ROWS, 17, 40, 129, 300):
        if not torch.equal(layer(x[:rows])[:288], reference[:rows]):
            return False
    return torch.equal(layer(x[:288].flip(0)).flip(0), reference)


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


def _experts_pass(experts: nn.Module, model: PreTrainedModel) -> bool:
    parameters = inspect.signature(experts.forward).parameters
    if [*parameters][:3] != ["hidden_states", "top_k_index", "top_k_weights"]:
        return False
    config = model.config.get_text_config()
    x = _rows(int(config.hidden_size), model)
    count = next(parameter.shape[0] for parameter in experts.parameters() if parameter.dim() == 3)
    few, rest = [0, min(1, count - 1)], [max(0, count - 2), count - 1]
    routes = torch.tensor([few if row % MIN_ROWS <= row // MIN_ROWS else rest for row in range(_ROWS)])
    routes = routes.to(model.device)
    shares = torch.full(routes.shape, 0.5, device=model.device, dtype=model.dtype)
    try:
        pieces = [experts(x[at : at + MIN_ROWS], routes[at : at + MIN_ROWS], shares[:MIN_ROWS]) for at in _STARTS]
        whole = experts(x, routes, shares)
    except Exception:  # another convention: it counts as failed, and costs speed only
        return False
    return torch.equal(torch.cat(pieces), whole[: MIN_ROWS * len(_STARTS)])
