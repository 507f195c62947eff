"""Weights as a checkpoint stores them, and the card of a model that they cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from harness.data import ModelCard
from harness.pool import ModelSpec


def stored_tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Name and content of each tensor in the safetensors files of a folder, in the order of files and names."""
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for key in sorted(tensors.keys()):
                yield key, tensors.get_tensor(key)


def stored_card(
    name: str, spec: ModelSpec, parameters: int, stored: int, fingerprint: str, run_as: Mapping[str, Any]
) -> ModelCard:
    """The card of a model by what is stored of it.

    Args:
        name: Of the model in its pool.
        spec: Of the model.
        parameters: Their number, those of tied tensors once.
        stored: Bytes of the weights.
        fingerprint: Hash of the weights and the way they are run.
        run_as: How they are run.
    """
    return ModelCard(
        model=name,
        parameters=parameters,
        weight_bytes=stored,
        bits=round(8 * stored / parameters, 3),
        fingerprint=fingerprint,
        details={**spec.model_dump(include={"weights", "adapter"}), **run_as},
    )
