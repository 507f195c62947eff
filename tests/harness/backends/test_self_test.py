"""The self-test at load: what it finds, what is done about it, and that it is remembered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from harness.backends import choosing
from harness.backends.packed import PackedModel
from harness.backends.packed_attention import ATTENTION, NotPackable, PackedPass, packed_attention, running
from harness.backends.row_check import least_rows
from harness.backends.self_test import Choice, choose
from harness.backends.sequences import Chunk
from mixroute import MixrouteError
from tests.harness.backends.architectures import tiny
from tests.harness.backends.asking import ask, open_model, plain
from tests.tiny_model import tiny_tokenizer

IDS = range(3, 67)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIXROUTE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def swapped(change: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have attention computed wrongly."""

    def wrong(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *others: Any, **named: Any) -> Any:
        return packed_attention(module, *change(query, key, value), *others, **named)

    monkeypatch.setitem(AttentionInterface._global_mapping, ATTENTION, wrong)


def test_what_differs_is_run_plainly_and_stays_right(
    tiny_weights: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = open_model(tiny_weights)
    (expected,) = ask(backend, plain("hello"))
    backend.close()
    swapped(lambda query, key, value: (query, key * 1.01, value), monkeypatch)
    choice = choose(tiny("llama"), IDS)
    assert (choice.way, choice.reuse) == ("plain", "session")
    assert "read alone, its log-probabilities differ from those of the model's own pass" in choice.why
    for path in (cache / "self-tests").iterdir():
        path.unlink()
    backend = open_model(tiny_weights)
    (answer,) = ask(backend, plain("hello"))
    assert [token.id for token in answer.tokens] == [token.id for token in expected.tokens]
    backend.close()


def test_a_leak_between_sequences_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    swapped(lambda query, key, value: (query, key, value + 1e-2 * value.mean(2, keepdim=True)), monkeypatch)
    assert choose(tiny("llama"), IDS).way == "plain"


def test_what_can_be_run_in_no_way_is_refused(tiny_weights: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    swapped(lambda query, key, value: (query, -key, value), monkeypatch)
    monkeypatch.setattr("harness.backends.plain.PlainModel._forward", lambda self, chunk: 1 / 0)
    with pytest.raises(MixrouteError, match="cannot be run: LlamaForCausalLM: ZeroDivisionError") as raised:
        open_model(tiny_weights)
    assert "\n" not in str(raised.value)
    assert not (cache / "self-tests").exists()


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_that_memory_ran_out_says_nothing_of_the_model(
    tiny_weights: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def short(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("harness.backends.packed.PackedModel._pass", short)
        with pytest.raises(MixrouteError, match="memory ran out in its self-test"):
            open_model(tiny_weights)
    assert not (cache / "self-tests").exists()
    backend = open_model(tiny_weights)
    assert isinstance(backend._sharing.model, PackedModel)
    backend.close()


def test_the_slow_way_is_told_with_its_reason(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture, tiny_weights: Path
) -> None:
    tiny("mpt").save_pretrained(tmp_path / "mpt")
    tiny_tokenizer().save_pretrained(tmp_path / "mpt")
    for _ in range(2):  # the second time it is remembered
        caplog.clear()
        open_model(tmp_path / "mpt").close()
        (said,) = caplog.messages
        assert "MptForCausalLM) runs plain" in said
        assert "its layers do not take a packed pass (AttributeError: " in said
    caplog.clear()
    open_model(tiny_weights).close()
    assert not caplog.messages


def test_a_choice_is_remembered_for_these_weights_and_this_configuration(
    tiny_weights: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tests = 0

    def counted(*arguments: Any) -> Choice:
        nonlocal tests
        tests += 1
        return choose(*arguments)

    monkeypatch.setattr(choosing, "choose", counted)
    for _ in range(2):
        open_model(tiny_weights).close()
    assert tests == 1
    (stored,) = (cache / "self-tests").iterdir()
    stored.write_bytes(b"{")  # damaged: tested again
    open_model(tiny_weights).close()
    assert tests == 2
    other = tmp_path / "other"
    other.mkdir()
    for path in tiny_weights.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    config = json.loads((other / "config.json").read_text())
    config["rope_parameters"] = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}
    (other / "config.json").write_text(json.dumps(config))
    open_model(other).close()
    assert tests == 3


@pytest.mark.parametrize(
    ("argument", "value"),
    [("position_bias", torch.ones(1)), ("indices", torch.ones(1)), ("is_causal", False), ("dropout", 0.1)],
)
def test_an_argument_that_is_not_known_is_refused(argument: str, value: Any) -> None:
    layer = nn.Identity()
    layer.layer_idx = 0  # type: ignore[assignment]
    model = PackedModel(tiny("llama"), deterministic=True, least_rows=1)
    one = PackedPass([Chunk(model.new_cache(), [5])])
    row = torch.ones(1, 2, 1, 4)
    with running(one):
        assert packed_attention(layer, row, row, row, None, position_ids=row, use_cache=True)[0].shape == (1, 1, 2, 4)
    with running(PackedPass(one.chunks)), pytest.raises(NotPackable):
        packed_attention(layer, row, row, row, None, **{argument: value})
    with running(PackedPass(one.chunks)), pytest.raises(NotPackable, match="mask or bias"):
        packed_attention(layer, row, row, row, row)
    with pytest.raises(NotPackable, match="outside a pass"):
        packed_attention(layer, row, row, row, None)


def test_a_window_that_is_not_passed_on_is_found() -> None:
    model = tiny("mistral", sliding_window=4000)  # longer than the texts of the test
    for layer in model.model.layers:
        layer.self_attn.forward = unwindowed(layer.self_attn)
    assert "window" in choose(model, IDS).why


def unwindowed(attention: Any) -> Any:
    forward = attention.forward

    def changed(*arguments: Any, **named: Any) -> Any:
        real = ALL_ATTENTION_FUNCTIONS.get_interface

        def get(name: str, default: Any) -> Any:
            found = real(name, default)
            return lambda *given, sliding_window=None, **others: found(*given, **others)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ALL_ATTENTION_FUNCTIONS, "get_interface", get)
            return forward(*arguments, **named)

    return changed


@pytest.mark.parametrize("kind", ["qwen3_moe", "granitemoe", "ernie4_5_moe"])
def test_experts_depend_on_the_batch(kind: str) -> None:
    choice = choose(tiny(kind), IDS)
    assert (choice.way, choice.isolated) == ("packed", True)


class Mixing(nn.Linear):
    """A layer whose rows depend on one another."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (1 + (x.abs() > 6).sum())


def test_the_row_check_finds_a_layer_that_looks_at_all_rows() -> None:
    model = tiny("llama")
    assert least_rows(model)
    model.model.layers[1].mlp.up_proj = Mixing(64, 128)
    assert least_rows(model) is None
