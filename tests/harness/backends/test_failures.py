"""Failures of the transformers backend: what ends with an error, and what it recovers from."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.backends.decoding import pick_token
from harness.backends.packed import PackedModel
from harness.backends.sequences import Chunk, LastPosition
from mixroute import Completion, EpisodeError, MixrouteError, Token
from tests.harness.backends.asking import ask, open_model, plain


def test_memory_running_out_halves_the_batch_and_changes_nothing(
    tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    backend = open_model(tiny_weights)
    requests = [plain(f"text {i}", f"s{i}") for i in range(12)]
    expected = ask(backend, *requests)
    forward = PackedModel.forward

    def scarce(model: PackedModel, chunks: Sequence[Chunk]) -> list[LastPosition]:
        if len(chunks) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(model, chunks)

    monkeypatch.setattr(PackedModel, "forward", scarce)
    assert ask(backend, *requests) == expected
    assert len([r for r in caplog.records if "ran out of memory" in r.message]) == 1
    backend.close()


def test_a_failure_in_picking_a_token_is_that_calls_alone(tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = open_model(tiny_weights)
    requests = [plain(f"text {i}", f"s{i}", seed=i) for i in range(4)]
    expected = ask(backend, *requests)
    count = itertools.count()

    def unlucky(logits: torch.Tensor, temperature: float, generator: torch.Generator | None) -> Token:
        if next(count) == 6:  # the second token of the third call
            raise torch.OutOfMemoryError("out of memory")
        return pick_token(logits, temperature, generator)

    monkeypatch.setattr("harness.backends.continuous.pick_token", unlucky)

    async def together() -> list[Completion | BaseException]:
        return await asyncio.gather(*(backend.generate(request) for request in requests), return_exceptions=True)

    answers = asyncio.run(together())
    failed = [place for place, answer in enumerate(answers) if isinstance(answer, EpisodeError)]
    assert len(failed) == 1
    assert [a for a in answers if isinstance(a, Completion)] == [e for i, e in enumerate(expected) if i not in failed]
    backend.close()


def test_weights_with_a_hole_are_refused(tiny_weights: Path, tmp_path: Path) -> None:
    for path in tiny_weights.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(MixrouteError, match="no tensor for model.layers.1.mlp.up_proj.weight"):
        open_model(tmp_path)


def test_weights_that_give_no_distribution_are_refused_at_load(tiny_weights: Path, tmp_path: Path) -> None:
    for path in tiny_weights.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["model.norm.weight"][0] = float("nan")
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(MixrouteError, match="LlamaForCausalLM: its next-token distribution is not finite"):
        open_model(tmp_path)


def test_a_prompt_longer_than_the_context_is_refused(tiny_weights: Path) -> None:
    backend = open_model(tiny_weights)
    with pytest.raises(EpisodeError, match="4100 tokens leaves no room in a context of 4096"):
        ask(backend, plain("x" * 4100))
    backend.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantisation": "nf4"}, "options of model 'high': unknown key 'quantisation': did you mean 'quantization'?"),
        ({"quantization": "nf3"}, "key 'quantization' = 'nf3'"),
    ],
)
def test_wrong_options_are_named(tiny_weights: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MixrouteError) as raised:
        open_model(tiny_weights, **options)
    assert message in str(raised.value)


def test_unreadable_weights_are_named(tmp_path: Path, tiny_weights: Path) -> None:
    (tmp_path / "config.json").write_text((tiny_weights / "config.json").read_text())
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((tiny_weights / name).read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(MixrouteError, match="weights of model 'high'.*cannot be read"):
        open_model(tmp_path)
