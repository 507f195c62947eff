"""Checkpoints: fetching their files, and the card of a model from its files, without loading it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download

from harness.backends.stored import stored_card, stored_tensors
from harness.data import ModelCard
from harness.errors import MixrouteError
from harness.pool import ModelSpec
from harness.text import one_line
from harness.weights.adapters import weights_folder
from harness.weights.random import random_config
from harness.weights.rounding import rounded_folder
from harness.weights.size import packing_of, size_of

_FILES = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]


def checkpoint_folder(spec: ModelSpec, quantization: str) -> Path:
    """Folder with the files of a model, which are merged, rounded or fetched from the hub first where that is needed.

    Raises:
        MixrouteError: they cannot be read or fetched.
    """
    if spec.has_random_weights:
        return random_config(str(spec.shape), quantization)
    found = weights_folder(spec)
    if not Path(found).is_dir():
        try:
            found = snapshot_download(str(found), allow_patterns=_FILES)
        except (OSError, ValueError) as error:
            raise MixrouteError(
                f"weights '{found}' are no folder and cannot be fetched from the hub: {one_line(error)}"
            ) from error
    return Path(found) if quantization == "none" else rounded_folder(found, quantization)


def checkpoint_card(name: str, folder: Path, spec: ModelSpec, run_as: Mapping[str, Any]) -> ModelCard:
    """The card of a model that an external engine runs from these files.

    Args:
        name: Of the model in its pool.
        folder: With ``config.json`` and ``*.safetensors``.
        spec: Of the model.
        run_as: The settings that change answers.

    Raises:
        MixrouteError: there are no such files.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files and not spec.has_random_weights:
        raise MixrouteError(f"weights of model '{name}': {folder} has no .safetensors file: convert them first")
    digest = hashlib.sha256(repr(sorted(run_as.items())).encode())
    if spec.has_random_weights:
        digest.update((folder / "config.json").read_bytes())
    for file in files:
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    size = size_of(str(folder / "config.json"))
    if spec.has_random_weights:
        stored = size.weight_bytes(packing_of(str(spec.shape), str(run_as.get("quantization", "none"))))
    else:
        stored = sum(tensor.nbytes for _, tensor in stored_tensors(folder))
    return stored_card(name, spec, size.parameters, stored, digest.hexdigest(), run_as)
