"""Architectures: same answers as transformers' own generation, whatever the batch and the cache, or refused."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from harness.backends.packed import PackedModel
from harness.backends.self_test import choose
from mixroute import Completion, GivenAnswer, Message, MixrouteError, Prompt, Request
from tests.harness.backends.architectures import DOCS, PLACE, outcomes, tiny, with_table
from tests.harness.backends.asking import ask, open_model, plain
from tests.tiny_model import tiny_tokenizer

DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 8.0}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "original_max_position_embeddings": 64,
    "factor": 8.0,
    "short_factor": [1.0] * 8,
    "long_factor": [float(2 + n) for n in range(8)],
}

KINDS: dict[str, tuple[str, dict[str, Any], str]] = {
    "attention of its own": ("bloom", {}, "plain"),
    "capped scores": ("gemma2", {"attn_logit_softcapping": 2.0}, "packed"),
    "convolutions between attention": ("lfm2", {}, "plain"),
    "dynamic rope": ("llama", {"max_position_embeddings": 64, "rope_parameters": DYNAMIC}, "packed, alone"),
    "experts": ("mixtral", {}, "packed, alone"),
    "experts, in blocks": ("llama4_text", {}, "packed, alone"),
    "keys and values of other sizes": ("deepseek_v2", {"head_dim": 8}, "packed, alone"),
    "long rope": ("llama", {"rope_parameters": LONG}, "packed, alone"),
    "no attention": ("mamba", {}, "plain"),
    "sinks": ("gpt_oss", {}, "packed, alone"),
    "state in its modules": ("recurrent_gemma", {}, "plain"),
    "transposed layers": ("gpt2", {}, "packed"),
}


def saved(folder: Path, kind: str, **changes: Any) -> Path:
    tiny(kind, **changes).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", KINDS)
def test_answers_are_the_models_own(tmp_path: Path, name: str) -> None:
    kind, changes, way = KINDS[name]
    backend = open_model(saved(tmp_path, kind, **changes))
    runs = backend._sharing.model
    packed = "packed, alone" if runs.isolated else "packed"
    assert (packed if isinstance(runs, PackedModel) else "plain") == way
    tokenizer = tiny_tokenizer()
    requests = []
    for place, text in enumerate(("abc", "You are in a room. You see a desk.\n>", "zq " * 30)):
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        own: Any = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32, attn_implementation="eager")
        output: Any = own.generate(  # loaded anew: some models keep a state
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=6,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
        requests.append(plain(text, f"s{place}", max_tokens=6))
        (answer,) = ask(backend, requests[-1])
        assert [token.id for token in answer.tokens] == output.sequences[0, ids.shape[1] :].tolist()
        for token, logits in zip(answer.tokens, output.logits, strict=True):
            expected = float(torch.log_softmax(logits[0].double(), -1)[token.id])
            assert token.logprob == pytest.approx(expected, abs=2e-4)
    alone = [ask(backend, request)[0] for request in requests]
    assert ask(backend, *requests) == alone  # log-probabilities too, to the last bit
    turns = ["You are in a room.\n>", " look\n", "You see desk 1.\n>", " go\n", "On the desk you see a lamp.\n>"]
    prompts = [Prompt(tuple(conversation(turns[:count])), "plain") for count in (1, 3, 5)]

    async def at(steps: list[int], session: str) -> Completion:
        for step in steps:
            await backend.generate(Request(session, prompts[step], max_tokens=4))
        return await backend.generate(Request(session, prompts[2], max_tokens=6))

    warm, half, cold = (asyncio.run(at(steps, str(steps))) for steps in ([0, 1], [0], []))
    assert replace(warm, cached_tokens=0) == replace(half, cached_tokens=0) == cold
    given = GivenAnswer("look", content_tokens=4, decoded_tokens=4, finish="length")
    (scored,) = asyncio.run(backend.score([(plain("go\n>"), given)]))
    own = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32, attn_implementation="eager")
    ids = tokenizer("go\n>look", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        rows = torch.log_softmax(own(ids).logits[0, 3:-1].double(), -1)
    assert scored is not None
    for one, row, token in zip(scored, rows, ids[0, 4:], strict=True):
        assert one.token.logprob == pytest.approx(float(row[token]), abs=2e-4, rel=1e-4)
    backend.close()


def conversation(turns: list[str]) -> list[Message]:
    return [Message(("user", "assistant")[place % 2], text) for place, text in enumerate(turns)]


def test_a_model_that_is_not_causal_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path, "bert", is_decoder=False)
    with pytest.raises(MixrouteError) as raised:
        open_model(folder)
    assert str(raised.value) == (
        f"model 'high' ({folder}) cannot be run: BertLMHeadModel: "
        "what it says of a text depends on what follows: it is not causal"
    )


@pytest.mark.parametrize(
    ("change", "cause"),
    [({"model_type": "nothing"}, "nothing"), ({"num_attention_heads": 5}, ""), ({"hidden_act": "odd"}, "KeyError")],
)
def test_what_cannot_be_loaded_is_one_line(tmp_path: Path, change: dict[str, Any], cause: str) -> None:
    folder = saved(tmp_path, "llama")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(MixrouteError, match="LlamaForCausalLM") as raised:
        open_model(folder)
    assert cause in str(raised.value)
    assert str(folder) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_the_table_in_the_docs_is_what_the_sweep_finds() -> None:
    page = DOCS.read_text()
    assert f"<!-- figures: {PLACE} -->" in page
    assert with_table(page, list(outcomes())) == page


@pytest.mark.parametrize("kind", ["gpt2", "lfm2"])
def test_a_choice_does_not_depend_on_what_was_tried_before(kind: str) -> None:
    model = tiny(kind)
    assert choose(model, range(3, 67)) == choose(tiny(kind), range(3, 67))
