"""State of an iterative optimisation on disk (tensors, optimizer and log), so that a killed training can resume."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from harness.errors import MixrouteError
from harness.files import refuse_devices, write_atomically
from harness.json_files import decode_json, read_file
from harness.text import one_line

STATE = "state.safetensors"
LOG = "log.jsonl"
_SUM = "sha256"


def resume(folder: Path, trained: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> list[dict[str, float]]:
    """Restore tensors and optimizer; returns the metrics of the iterations so far, none if nothing was saved.

    Nothing is restored unless all of it can be read.

    Args:
        folder: Folder that ``save_state`` wrote.
        trained: Tensors to fill, by name.
        optimizer: Optimizer of these tensors.

    Raises:
        MixrouteError: what was saved is damaged, or belongs to another training.
    """
    path = folder / STATE
    if not path.exists():
        return []
    refuse_devices(path)
    try:
        tensors = _checked(path)
        history = _history(folder / LOG, int(tensors["iterations"]))
        state: dict[int, dict[str, Tensor]] = {}
        saved: dict[str, Tensor] = {}
        for key, tensor in tensors.items():
            kind, _, rest = key.partition(".")
            if kind == "trained":
                saved[rest] = tensor
            elif kind == "optimizer":
                number, _, name = rest.partition(".")
                state.setdefault(int(number), {})[name] = tensor
        if {name: tensor.shape for name, tensor in saved.items()} != {name: one.shape for name, one in trained.items()}:
            raise ValueError("its tensors are not those that are trained")
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        with torch.no_grad():
            for name, tensor in saved.items():
                trained[name].copy_(tensor)
    except (OSError, SafetensorError, ValueError, RuntimeError, LookupError, TypeError) as error:
        raise MixrouteError(
            f"{path} is damaged, or of another training ({one_line(error)}): delete the folder {folder} to begin again"
        ) from error
    return history


def _checked(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, compared with the checksum that ``save_state`` put into it."""
    with safe_open(path, framework="pt") as opened:
        recorded = (opened.metadata() or {}).get(_SUM)
    tensors = load_file(path)
    if recorded is not None and recorded != _sum(tensors):
        raise ValueError("its SHA-256 is not the recorded one")
    return tensors


def _sum(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _history(path: Path, iterations: int) -> list[dict[str, float]]:
    """The metrics of the iterations that the state has behind it; a log that was written later has more."""
    lines = read_file(path, "delete its folder to begin again").splitlines()
    if not 0 <= iterations <= len(lines):
        raise ValueError(f"it is of iteration {iterations}, and {path.name} has {len(lines)}")
    found: list[dict[str, float | None]] = [
        decode_json(line, dict[str, float | None], f"{path}:{number}", "delete its folder to begin again")
        for number, line in enumerate(lines[:iterations], 1)
    ]
    return [{key: math.nan if value is None else value for key, value in line.items()} for line in found]


def save_state(
    folder: Path,
    trained: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    history: Sequence[Mapping[str, float]],
) -> None:
    """Save the log, then the state, so that a state on disk always has its log. Metrics that are infinite or not a
    number are null in the log, and read as NaN.
    """
    finite = [{key: value if math.isfinite(value) else None for key, value in line.items()} for line in history]
    write_atomically(folder / LOG, "".join(json.dumps(line) + "\n" for line in finite).encode())
    tensors = {f"trained.{key}": tensor for key, tensor in trained.items()}
    for number, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in values.items()}
    tensors["iterations"] = torch.tensor(len(history))
    part = folder / f".{STATE}.part"
    content = {key: tensor.detach().cpu().clone().contiguous() for key, tensor in tensors.items()}
    save_file(content, part, metadata={_SUM: _sum(content)})
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
