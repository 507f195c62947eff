"""Round to nearest: quantization that needs no data and gives the same weights on every machine."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch

from harness.errors import MixrouteError
from harness.files import made_once
from harness.text import one_line
from harness.weights.adapters import identity
from harness.weights.schemes import Scheme, get_scheme

log = logging.getLogger(__name__)


def rounded_folder(base: str | Path, scheme: str) -> Path:
    """A checkpoint of ``base`` rounded by the scheme with this name, made in the cache the first time.

    Raises:
        MixrouteError: weights that cannot be read or packed.
    """
    return made_once(scheme, identity(base), lambda target: round_to_nearest(base, get_scheme(scheme), target))


def round_to_nearest(base: str | Path, scheme: Scheme, target: Path) -> None:
    """Write ``base`` with its linear layers, except the head, packed to integers in the compressed-tensors format.

    Raises:
        MixrouteError: weights that cannot be read, or whose layers no group of weights divides.
    """
    from compressed_tensors import ModelCompressor
    from compressed_tensors.quantization import QuantizationConfig, QuantizationStatus, apply_quantization_config
    from compressed_tensors.quantization.utils import calculate_qparams

    model, tokenizer = open_dense(base)
    size = group_of(model, scheme)
    sharing = "a scale an output" if scheme.per_channel else f"groups of {size}"
    log.info("rounding %s to %d bits, %s (once)", base, scheme.bits, sharing)
    groups = scheme.config_groups(size)
    apply_quantization_config(model, QuantizationConfig(config_groups=groups, ignore=["lm_head"]))
    for module in model.modules():
        chosen = getattr(module, "quantization_scheme", None)
        if chosen is None:
            continue
        weights = module.weight.unflatten(-1, (-1, module.in_features if scheme.per_channel else size))
        scale, zero_point = calculate_qparams(weights.amin(-1), weights.amax(-1), chosen.weights)
        module.weight_scale.data.copy_(scale)
        if not scheme.symmetric:
            module.weight_zero_point.data.copy_(zero_point)
        module.quantization_status = QuantizationStatus.FROZEN
    compressor: Any = ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    model.save_pretrained(target)
    compressor.update_config(str(target))
    tokenizer.save_pretrained(target)


def open_dense(base: str | Path) -> tuple[Any, Any]:
    """A model, in the type that it is stored in, and its tokenizer.

    Raises:
        MixrouteError: they cannot be read.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        return AutoModelForCausalLM.from_pretrained(base, dtype="auto"), AutoTokenizer.from_pretrained(base)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise MixrouteError(f"weights {base} cannot be read: {one_line(error)}") from error


def group_of(model: Any, scheme: Scheme) -> int:  # noqa: ANN401 - any transformers model
    """Number of weights that share a scale in this model's linear layers, except the head.

    Raises:
        MixrouteError: no group divides them all.
    """
    head = model.get_output_embeddings()
    return scheme.group(m.in_features for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head)
