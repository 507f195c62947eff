"""Models that cannot share a key-value cache are refused, with what differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from mixroute import MixrouteError
from tests.harness.backends.sharing import Asked, close, opened, share, talk


def variant(folder: Path, like: Path, kind: str = "llama", **changes: Any) -> Path:
    """Random weights of a configuration that differs, with the tokenizer, as a folder."""
    from transformers import AutoConfig

    stated = AutoConfig.from_pretrained(like).to_dict()
    kept = {key: value for key, value in stated.items() if key not in ("model_type", "architectures")}
    model: Any = AutoModelForCausalLM
    model.from_config(AutoConfig.for_model(kind, **kept | changes)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(like).save_pretrained(folder)
    return folder


ROPE = {"rope_type": "default", "rope_theta": 5e5}
GROWING = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}


@pytest.mark.parametrize(
    ("kind", "change", "why"),
    [
        ("llama", {"num_key_value_heads": 4}, "differ in shape or type of keys and values"),
        ("llama", {"num_hidden_layers": 3}, "differ in shape or type of keys and values"),
        ("llama", {"rope_parameters": ROPE}, "differ in position encodings"),
        ("llama", {"rope_parameters": GROWING}, "its position encodings depend on the length of the text"),
        ("qwen2", {}, "differ in architecture"),
        ("mistral", {"sliding_window": 8}, "differ in architecture, windows of attention"),
        ("gptj", {"n_embd": 64, "n_layer": 2, "n_head": 4, "rotary_dim": 8}, "it does not run the packed way"),
    ],
)
def test_models_that_cannot_share_are_refused(
    folders: dict[str, Path], tmp_path: Path, kind: str, change: dict[str, Any], why: str
) -> None:
    models = opened({"high": folders["high"], "low": variant(tmp_path / "low", folders["high"], kind, **change)})
    with pytest.raises(MixrouteError, match=f"kv_cache.shared: model.*cannot share a cache: .*{why}"):
        share(models)
    assert talk(models, [Asked("high", 0)])[0].prompt_tokens  # nothing was changed
    close(models)


def test_models_with_other_tokenizers_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    other = variant(tmp_path / "low", folders["high"])
    tokenizer = AutoTokenizer.from_pretrained(other)
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    tokenizer.save_pretrained(other)
    models = opened({"high": folders["high"], "low": other})
    with pytest.raises(MixrouteError, match="differ in tokenizer"):
        share(models)
    close(models)


def test_models_that_compute_otherwise_are_refused(folders: dict[str, Path]) -> None:
    models = opened({"high": folders["high"]}) | opened({"low": folders["low"]}, dtype="bfloat16")
    with pytest.raises(MixrouteError, match="shape or type of keys and values"):
        share(models)
    close(models)
