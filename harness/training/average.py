"""The mean of adapters that were trained from one another.

Small batches leave the weights scattered around a better point, which their mean approximates without training.
Source: Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018; Wortsman et al.,
"Model Soups", 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from harness.errors import MixrouteError
from harness.json_files import read_json
from harness.pool import ModelSpec
from harness.provenance import provenance
from harness.traces.contamination import trained_on
from harness.training.card import AverageCard, read_card, write_card
from harness.training.checkpoint import atomic_folder
from harness.weights.adapters import FILES


def average(adapters: Sequence[Path], folder: Path) -> Path:
    """Write the mean of ``adapters``, tensor by tensor, with a card that contains theirs.

    Args:
        adapters: Folders of LoRA adapters of one shape. The two factors of a LoRA product are averaged separately, so
            the mean is useful only for adapters that are close: one trained from the other, or both from a third.
        folder: Folder to write; it must not exist.

    Raises:
        MixrouteError: an adapter cannot be read, they are of different shapes, or ``folder`` exists.
    """
    if len(adapters) < 2:
        raise MixrouteError(f"an average needs two adapters or more, not {len(adapters)}: name another one")
    if folder.exists():
        raise MixrouteError(f"{folder} exists: use another --out")
    configs, tensors = zip(*(_read(adapter) for adapter in adapters), strict=True)
    for adapter, config, state in zip(adapters, configs, tensors, strict=True):
        same = {key: value.shape for key, value in state.items()} == {k: v.shape for k, v in tensors[0].items()}
        if not same or config != configs[0]:
            raise MixrouteError(f"adapters {adapters[0]} and {adapter} differ in shape: average those of one recipe")
    mean = {
        key: torch.stack([state[key].double() for state in tensors]).mean(0).to(value.dtype)
        for key, value in tensors[0].items()
    }
    specs = [ModelSpec(weights="", adapter=str(adapter)) for adapter in adapters]
    cards = [read_card(spec) for spec in specs]
    card = AverageCard(schema=1, name=folder.name, mean_of=cards, provenance=provenance())
    with atomic_folder(folder) as made:
        (made / FILES[0]).write_bytes((adapters[0] / FILES[0]).read_bytes())
        save_file(mean, made / FILES[1], metadata={"format": "pt"})
        write_card(made, card, frozenset().union(*map(trained_on, specs)))
    return folder


def _read(adapter: Path) -> tuple[Any, dict[str, torch.Tensor]]:
    try:
        config: dict[str, Any] = read_json(adapter / FILES[0], dict[str, Any], "get the adapter again")
        return {key: config.get(key) for key in ("r", "lora_alpha", "peft_type")}, load_file(adapter / FILES[1])
    except (OSError, ValueError, SafetensorError) as error:
        raise MixrouteError(f"adapter {adapter} cannot be read: {error}") from error
