"""A router inside lm-eval reads generation settings as lm-eval's own model ``hf`` does, and gives the same answers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval", reason="the extra 'reasoning' is not installed")

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.integrations.lm_eval import MixrouteLM
from harness.integrations.lm_eval_prompts import generation_of
from mixroute import MixrouteError

CONTEXTS = [f"Question: item {number}\nAnswer:" for number in range(8)]


@pytest.fixture(scope="module")
def weights(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that likes to write ``<|im_end|>``, which does not end its answers, with a context of 64 tokens."""
    folder = tmp_path_factory.mktemp("special") / "model"
    shutil.copytree(tiny_weights, folder)
    for name in ("config.json", "generation_config.json"):
        settings = json.loads((folder / name).read_text())
        settings["eos_token_id"] = 0
        if name == "config.json":
            settings |= {"max_position_embeddings": 64, "tie_word_embeddings": False}
        (folder / name).write_text(json.dumps(settings))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token = tokenizer.pad_token = "<|endoftext|>"  # noqa: S105
    tokenizer.save_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.lm_head.weight = torch.nn.Parameter(model.model.embed_tokens.weight.clone())
        model.lm_head.weight[2] *= -2.2
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def both(weights: Path) -> Iterator[tuple[HFLM, MixrouteLM]]:
    pool = weights.parent / "pool.yaml"
    pool.write_text(json.dumps({"schema": 1, "name": "p", "models": {"high": {"weights": str(weights)}}}))
    router = MixrouteLM(router="always-high", pool=str(pool), reuse=False)
    yield HFLM(pretrained=str(weights), dtype="float32", device="cpu", batch_size=1), router
    router.close()


def requests(contexts: list[str], **settings: Any) -> list[Instance]:
    return [
        Instance("generate_until", {}, (context, dict(settings)), 0, metadata=("task", number, 1))
        for number, context in enumerate(contexts)
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {"until": ["\n\n"], "max_gen_toks": 9},
        {"until": ["\n\n"], "max_new_tokens": 5, "do_sample": False},
        {"until": "\n\n", "max_tokens": 6, "temperature": 0.0},
        {"until": ["<|im_end|>"], "max_gen_toks": 16, "do_sample": False},
        {"max_completion_tokens": 4},
        {"until": ["3", "<|im_end|>"], "max_gen_toks": 12, "temperature": 0.7, "do_sample": False},
    ],
)
def test_answers_are_those_of_hf(both: tuple[HFLM, MixrouteLM], settings: dict[str, Any]) -> None:
    theirs, ours = (model.generate_until(requests(CONTEXTS, **settings)) for model in both)
    assert ours == theirs
    assert len({*ours}) > 1


def test_a_special_token_that_is_asked_for_ends_an_answer(both: tuple[HFLM, MixrouteLM]) -> None:
    # Otherwise the test above would show nothing.
    until = both[1].generate_until(requests(CONTEXTS, until=["<|im_end|>"], max_gen_toks=16))
    assert until != both[1].generate_until(requests(CONTEXTS, until=["\x00"], max_gen_toks=16))


def test_a_prompt_that_is_too_long_loses_its_beginning(
    both: tuple[HFLM, MixrouteLM], caplog: pytest.LogCaptureFixture
) -> None:
    contexts = ["long " * 30, "short", "x" * 64]
    theirs, ours = (model.generate_until(requests(contexts, until=[], max_gen_toks=8)) for model in both)
    assert ours == theirs
    assert "its first 94 tokens are left out" in caplog.text


def test_settings_are_read_by_lm_evals_functions() -> None:
    assert generation_of({"temperature": 1.5}).temperature == 1.5
    assert generation_of({"temperature": 1.5, "do_sample": False}).temperature == 0.0
    assert generation_of({"max_gen_toks": 3, "max_new_tokens": 5}).max_tokens == 3
    assert generation_of({}).max_tokens == 256
    assert generation_of({"until": "a"}).stop == ("a",)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"repetition_penalty": 1.2}, "repetition_penalty=1.2"),
        ({"num_beams": 4}, "num_beams=4"),
        ({"max_gen_toks": 0}, "answers of 0 tokens"),
        ({"max_length": 100}, "max_length"),
    ],
)
def test_what_is_not_done_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(MixrouteError, match=message):
        generation_of(settings)
