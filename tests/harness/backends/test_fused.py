"""Fused decoder layers: which layers they are, what they compute, and how they are undone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from harness.backends.comparison import compare, texts_to_compare
from harness.backends.fused import FusedLayer, fuse_layers, restore_layers
from harness.backends.joined import SideBySide, join, split
from harness.backends.loading import TransformersOptions, load_model
from harness.backends.packed import PackedModel
from harness.backends.packed_attention import ATTENTION
from harness.backends.quantized.grouped import GroupedLinear
from harness.backends.quantized.integer import IntegerLinear, RowQuantizer
from harness.backends.self_test import choose, make, use_attention
from harness.pool import ModelSpec
from tests.harness.backends.architectures import tiny

IDS = list(range(5, 45))
WITH_BIASES = {"attention_bias": True, "mlp_bias": True}


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {}),
        ("llama", WITH_BIASES),
        ("mistral", {"sliding_window": 16}),
        ("mistral", {"sliding_window": None}),
        ("qwen2", {"use_sliding_window": True, "max_window_layers": 2}),
        ("qwen3", {}),
    ],
)
def test_a_fused_model_computes_what_it_did(kind: str, changes: dict[str, Any]) -> None:
    model = tiny(kind, **changes)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.normal_()
        elif "norm" in name:
            parameter.uniform_(0.5, 2)
    texts, tolerance = texts_to_compare(model, IDS)
    use_attention(model, ATTENTION)
    fuse_layers(model)
    layers: Any = model.model.layers
    assert [type(layer) for layer in layers] == [FusedLayer] * len(layers)
    compare(PackedModel(model, deterministic=False, least_rows=1), texts, tolerance)


@pytest.mark.parametrize("kind", ["gemma2", "olmo2", "phi3"])
def test_other_layers_stay_as_they_are(kind: str) -> None:
    model = tiny(kind)
    before = [type(layer) for layer in model.modules()]
    fuse_layers(model)
    assert [type(layer) for layer in model.modules()] == before


def test_a_class_derived_from_a_known_one_stays_as_it_is() -> None:
    model: Any = tiny("llama")
    for layer in model.model.layers:
        layer.__class__ = type("Derived", (type(layer),), {})
    fuse_layers(model)
    assert not any(isinstance(layer, FusedLayer) for layer in model.modules())


@pytest.mark.parametrize(
    ("scheme", "kernels"), [("rtn-w4-channel", "packed"), ("rtn-w4-channel", "unpacked"), ("rtn-w4", "packed")]
)
def test_quantized_checkpoints_are_fused(tiny_weights: Path, scheme: str, kernels: str) -> None:
    options = TransformersOptions.model_validate({"quantization": scheme, "kernels": kernels})
    model, _ = load_model("m", ModelSpec(weights=str(tiny_weights)), options)
    fuse_layers(model)
    layers: Any = model.model.layers
    assert [type(layer) for layer in layers] == [FusedLayer] * len(layers)


def test_a_layer_that_a_library_has_changed_stays_as_it_is() -> None:
    model: Any = tiny("llama")
    norm = model.model.layers[1].input_layernorm
    norm.forward = lambda x: type(norm).forward(norm, x)
    fuse_layers(model)
    assert [isinstance(layer, FusedLayer) for layer in model.model.layers] == [True, False, True, True]


def test_a_restored_model_is_the_one_that_was_fused() -> None:
    model = tiny("llama", **WITH_BIASES)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.normal_()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ids = torch.tensor([IDS])
    expected = model(input_ids=ids).logits
    fuse_layers(model)
    assert model.state_dict().keys() != before.keys()
    restore_layers(model)
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    torch.testing.assert_close(model(input_ids=ids).logits, expected)


def test_a_model_that_cannot_run_packed_is_as_it_was() -> None:
    model: Any = tiny("llama")
    model.model.layers[1].self_attn.is_causal = False  # packed attention refuses it; the own forward pass ignores it
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    choice = choose(model, IDS)
    assert choice.way == "plain"
    make(model, choice, deterministic=True)
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("bits", [4, 8])
def test_joined_integer_layers_give_the_same_bits(bits: int) -> None:
    quantize = RowQuantizer()
    generator = torch.Generator().manual_seed(0)
    most = 1 << bits - 1

    def made(outputs: int, *, bias: bool) -> IntegerLinear:
        weight = torch.randint(-most, most, (outputs, 48), generator=generator, dtype=torch.int8)
        scale = torch.rand(outputs, generator=generator)
        biases = torch.randn(outputs, generator=generator) if bias else None
        return IntegerLinear(weight, scale, biases, bits=bits, quantize=quantize, dtype=torch.float32)

    layers = [made(32, bias=True), made(8, bias=False), made(16, bias=True)]
    x = torch.randn(7, 48, generator=generator)
    joined = join(layers)
    assert isinstance(joined, IntegerLinear)
    assert torch.equal(joined(x), torch.cat([layer(x) for layer in layers], -1))
    apart = split(joined, [32, 8, 16])
    assert all(torch.equal(one(x), layer(x)) for one, layer in zip(apart, layers, strict=True))


def test_layers_with_weights_in_groups_stand_side_by_side() -> None:
    generator = torch.Generator().manual_seed(0)
    layers = [
        GroupedLinear(
            torch.randint(-8, 8, (outputs, 64), generator=generator, dtype=torch.int8),
            torch.rand(outputs, 2, generator=generator),
            None,
            None,
            bits=4,
            dtype=torch.float32,
        )
        for outputs in (32, 16, 16)
    ]
    x = torch.randn(2, 3, 64, generator=generator)
    joined = join(layers)
    assert torch.equal(joined(x), torch.cat([layer(x) for layer in layers], -1))
    assert split(joined, [32, 16, 16]) == layers


@pytest.mark.parametrize(
    "layers", [[nn.Linear(4, 8), nn.Linear(4, 8, dtype=torch.bfloat16)], [nn.Linear(4, 8), nn.Bilinear(4, 4, 2)]]
)
def test_layers_that_differ_stand_side_by_side(layers: list[nn.Module]) -> None:
    assert isinstance(join(layers), SideBySide)
