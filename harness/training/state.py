"""State of an iterative optimisation on disk (tensors, optimizer and log), so that a killed training can resume."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from harness.errors import MixrouteError
from harness.files import write_atomically

STATE = "state.safetensors"
LOG = "log.jsonl"


def resume(folder: Path, trained: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> list[dict[str, float]]:
    """Restore tensors and optimizer; returns the metrics of the iterations so far, none if nothing was saved.

    Args:
        folder: Folder that ``save_state`` wrote.
        trained: Tensors to fill, by name.
        optimizer: Optimizer of these tensors.
    """
    if not (folder / STATE).exists():
        return []
    tensors = load_file(folder / STATE)
    state: dict[int, dict[str, Tensor]] = {}
    with torch.no_grad():
        for key, tensor in tensors.items():
            kind, _, rest = key.partition(".")
            if kind == "trained":
                trained[rest].copy_(tensor)
            elif kind == "optimizer":
                number, _, name = rest.partition(".")
                state.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines[: int(tensors["iterations"])]]


def save_state(
    folder: Path,
    trained: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    history: Sequence[Mapping[str, float]],
) -> None:
    """Save the log, then the state, so that a state on disk always has its log."""
    write_atomically(folder / LOG, "".join(json.dumps(line) + "\n" for line in history).encode())
    tensors = {f"trained.{key}": tensor for key, tensor in trained.items()}
    for number, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in values.items()}
    tensors["iterations"] = torch.tensor(len(history))
    part = folder / f".{STATE}.part"
    save_file({key: tensor.detach().clone().contiguous() for key, tensor in tensors.items()}, part)
    part.replace(folder / STATE)


def scalars(folder: Path) -> Any:  # noqa: ANN401 - tensorboard has no types
    """A writer of TensorBoard logs in ``folder``.

    Raises:
        MixrouteError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MixrouteError(f"training logs need TensorBoard ({error}): pip install 'mixroute[train]'") from error
    return SummaryWriter(str(folder / "tensorboard"))
