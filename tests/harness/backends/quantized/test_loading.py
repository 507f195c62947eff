"""Checkpoints with packed layers: loaded, described by their card, and refused where an option does not fit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from harness.backends.loading import TransformersOptions, load_model
from harness.backends.model_card import model_card
from harness.backends.quantized.convert import kernels, packed_layers
from harness.data import ModelCard
from harness.pool import ModelSpec
from harness.weights.rounding import rounded_folder
from mixroute import MixrouteError
from tests.harness.backends.asking import ask, open_model, plain
from tests.tiny_model import save_tiny_model, tiny_tokenizer

Opened = tuple[Any, ModelCard]


@pytest.fixture
def opened(tiny_weights: Path) -> Callable[..., Opened]:
    def open_(weights: Path = tiny_weights, **options: str) -> Opened:
        spec, checked = ModelSpec(weights=str(weights)), TransformersOptions(**options)  # type: ignore[arg-type]
        model, _ = load_model("low", spec, checked)
        return model, model_card("low", model, spec, checked)

    return open_


def logprobs(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return torch.log_softmax(model(torch.arange(3, 60)[None]).logits[0], -1)


@pytest.mark.parametrize(
    ("scheme", "arithmetic", "near"),
    [("rtn-w4-channel", "W4A8", 0.3), ("rtn-w4", "W4A16", 0.1), ("rtn-w3", "W3A16", 0.1), ("rtn-w2", "W2A16", 0.1)],
)
def test_a_rounded_checkpoint_runs_packed(
    opened: Callable[..., Opened], scheme: str, arithmetic: str, near: float, caplog: pytest.LogCaptureFixture
) -> None:
    packed, card = opened(quantization=scheme)
    dense, card_of_dense = opened(quantization=scheme, kernels="unpacked")
    assert card.details["arithmetic"] == arithmetic
    assert card_of_dense.details["arithmetic"] == "unpacked"
    assert len(packed_layers(packed)) == 14
    assert kernels(packed)
    assert (card.parameters, card.weight_bytes) == (card_of_dense.parameters, card_of_dense.weight_bytes)
    assert card.fingerprint != card_of_dense.fingerprint
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    difference = (logprobs(packed).exp() * (logprobs(packed) - logprobs(dense))).sum(-1).mean()
    assert 0 < difference < near


def test_a_head_of_8_bits_is_a_quarter_of_one_in_float32(opened: Callable[..., Opened]) -> None:
    _, card = opened(quantization="rtn-w4-channel")
    model, small = opened(quantization="rtn-w4-channel", head="int8")
    rows, size = 259, 64
    assert small.details["arithmetic"] == "W4A8, head W8A8"
    assert card.weight_bytes - small.weight_bytes == rows * (3 * size - 4)
    assert small.parameters == card.parameters
    assert small.fingerprint != card.fingerprint
    assert model.get_input_embeddings().integers.shape == (rows, size)


def test_what_is_not_packed_is_refused_a_head_of_8_bits(opened: Callable[..., Opened]) -> None:
    for options in ({}, {"quantization": "rtn-w4-channel", "kernels": "unpacked"}):
        with pytest.raises(MixrouteError, match="'head: int8' is for packed checkpoints"):
            opened(head="int8", **options)


@pytest.fixture
def bytes_in_groups(tiny_weights: Path, tmp_path: Path) -> Path:
    """A checkpoint with 8-bit weights in groups, a format that no kernel takes."""
    from llmcompressor import oneshot
    from llmcompressor.modifiers.quantization import QuantizationModifier

    model = AutoModelForCausalLM.from_pretrained(tiny_weights)
    weights = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "group", "group_size": 32}
    groups: Any = {"group_0": {"targets": ["Linear"], "weights": weights}}
    oneshot(model=model, recipe=QuantizationModifier(config_groups=groups, ignore=["lm_head"]))
    model.save_pretrained(tmp_path / "made")
    tiny_tokenizer().save_pretrained(tmp_path / "made")
    return tmp_path / "made"


def test_a_format_without_a_kernel_runs_dense_and_says_so(
    opened: Callable[..., Opened], bytes_in_groups: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, card = opened(bytes_in_groups)
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "runs unpacked" in record.message
    assert "14 layers of 8 bits with a scale for 32 weights on cpu" in record.message
    assert card.details["arithmetic"] == "unpacked"
    assert logprobs(model).isfinite().all()


def test_a_packed_model_answers_alike_alone_and_in_a_batch(tiny_weights: Path) -> None:
    ways: list[dict[str, Any]] = [{"quantization": "rtn-w4-channel", "head": "int8"}, {"quantization": "rtn-w4"}]
    for options in ways:
        backend = open_model(tiny_weights, **options)
        requests = [plain("go to desk " + "1" * n, f"s{n}") for n in range(1, 20)]
        assert ask(backend, *requests) == [ask(backend, request)[0] for request in requests]
        backend.close()


def test_other_weights_have_another_fingerprint(opened: Callable[..., Opened], tmp_path: Path) -> None:
    cards = []
    for seed in range(2):
        save_tiny_model(tmp_path / str(seed), seed=seed)
        cards.append(opened(rounded_folder(tmp_path / str(seed), "rtn-w4-channel"))[1])
    assert cards[0].fingerprint != cards[1].fingerprint
    assert cards[0].weight_bytes == cards[1].weight_bytes
