"""Adapters: low-rank changes to a model's weights, merged once into weights that every backend and quantizer reads."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from harness.errors import MixrouteError
from harness.files import made_once
from harness.pool import ModelSpec, PackageWeights
from harness.text import one_line
from harness.weights.checksums import check_sum
from harness.weights.packages import package_weights
from harness.weights.random import random_checkpoint

log = logging.getLogger(__name__)

FILES = ("adapter_config.json", "adapter_model.safetensors")


def weights_folder(spec: ModelSpec) -> str | Path:
    """Folder or hub id that ``from_pretrained`` reads for a model of a pool: its weights with its adapter merged.

    Raises:
        MixrouteError: weights or adapter that cannot be read.
    """
    if spec.has_random_weights:
        return random_checkpoint(str(spec.shape))
    base = package_weights(spec.weights) if isinstance(spec.weights, PackageWeights) else spec.weights
    if spec.adapter is None:
        return base
    adapter = Path(spec.adapter)
    return made_once("merged", _identity(base, adapter), lambda target: merge(base, adapter, target))


def merge(base: str | Path, adapter: Path, target: Path) -> None:
    """Write the weights of ``base`` with ``adapter`` merged in, in the type that ``base`` is stored in.

    Raises:
        MixrouteError: one of them cannot be read, or they do not belong together.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    log.info("merging the adapter %s (once)", adapter)
    try:
        model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
        stored = model.dtype
        tuned = PeftModel.from_pretrained(torch.nn.Module.to(model, torch.float32), str(adapter))
        for name, parameter in tuned.named_parameters():
            if "lora_" in name:  # in float64 every machine rounds to the same weights, whatever order it adds in
                parameter.data = parameter.data.double()
        tuned.merge_and_unload().to(stored).save_pretrained(target)
        AutoTokenizer.from_pretrained(base).save_pretrained(target)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise MixrouteError(f"adapter {adapter} cannot be merged into {base}: {one_line(error)}") from error


def _identity(base: str | Path, adapter: Path) -> str:
    digest = hashlib.sha256(identity(base).encode())
    for name in FILES:
        try:
            digest.update((adapter / name).read_bytes())
            check_sum(adapter / name)
        except OSError as error:
            raise MixrouteError(f"adapter {adapter}: {name} cannot be read: {error.strerror}") from error
    return digest.hexdigest()[:16]


def identity(weights: str | Path) -> str:
    """Hash that names weights: by their place and, if that is a folder, by the names, sizes and times of their
    files.
    """
    digest = hashlib.sha256(str(weights).encode())
    for file in sorted(Path(weights).glob("*.safetensors")) if Path(weights).is_dir() else ():
        state = file.stat()
        digest.update(f"{file.name} {state.st_size} {state.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]
