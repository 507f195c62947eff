"""Random weights for a shape, to time a model without downloading it."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from harness.files import made_once
from harness.weights.schemes import get_scheme
from harness.weights.size import read_config, widths_of

log = logging.getLogger(__name__)


def random_checkpoint(shape: str) -> Path:
    """A folder with configuration, tokenizer and random weights, made in the cache the first time.

    Raises:
        MixrouteError: a configuration that cannot be read.
    """

    def make(target: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        config = _config_without_end(shape)
        log.info("initialising random weights of shape %s (once)", Path(shape).stem)
        torch.manual_seed(0)
        made: Any = AutoModelForCausalLM.from_config(config, dtype=config.dtype)  # type: ignore[no-untyped-call]
        made.save_pretrained(target)
        _save_tokenizer(config.vocab_size, target)

    return made_once("random", _identity(shape, "none"), make)


def random_config(shape: str, quantization: str) -> Path:
    """A folder with configuration and tokenizer, for an engine that initialises random weights itself; made in the
    cache the first time.

    Args:
        shape: File of the configuration.
        quantization: Scheme by which the engine packs the weights, or ``none``.

    Raises:
        MixrouteError: a configuration that cannot be read, or a scheme that does not fit it.
    """

    def make(target: Path) -> None:
        config = _config_without_end(shape)
        target.mkdir()
        content = config.to_dict()
        if quantization != "none":
            content["quantization_config"] = _packing(shape, quantization)
        (target / "config.json").write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")
        _save_tokenizer(config.vocab_size, target)

    return made_once("shapes", _identity(shape, quantization), make)


def _packing(shape: str, quantization: str) -> dict[str, Any]:
    """The ``quantization_config`` that ``mixroute quantize`` would write."""
    from compressed_tensors.quantization import QuantizationConfig

    scheme = get_scheme(quantization)
    groups = scheme.config_groups(scheme.group(widths_of(shape)))
    packed = QuantizationConfig(
        config_groups=groups, ignore=["lm_head"], format="pack-quantized", quantization_status="compressed"
    )
    return dict(packed.model_dump(mode="json", exclude_none=True), quant_method="compressed-tensors")


def _config_without_end(shape: str) -> Any:  # noqa: ANN401 - transformers' configuration classes share no useful type
    """The configuration without a token that ends an answer, so that the model writes as many tokens as it is asked
    for.
    """
    config = read_config(shape)
    config.eos_token_id = None
    return config


def _identity(shape: str, quantization: str) -> str:
    return hashlib.sha256(Path(shape).read_bytes() + quantization.encode()).hexdigest()[:16]


def _save_tokenizer(size: int, target: Path) -> None:
    """Save a tokenizer with a token for each byte and made-up words for the rest, so that all tokens can be decoded."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*alphabet, *(f"w{number}" for number in range(len(alphabet), size))]
    tokenizer = Tokenizer(models.BPE(vocab={word: place for place, word in enumerate(words[:size])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(target)  # type: ignore[no-untyped-call]
