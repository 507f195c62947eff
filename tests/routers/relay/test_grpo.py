"""What is learned from an answer, and that the updates find a known optimum."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.backends.encoding import Encoder
from harness.data import Completion, Message, Prompt, Token
from harness.training.examples import IGNORED, Example
from routers.relay.grpo import Grpo, Rollout, sequences
from routers.relay.recipe import GrpoRecipe


@pytest.fixture(scope="module")
def encoder(tiny_weights: Path) -> Encoder:
    return Encoder(AutoTokenizer.from_pretrained(tiny_weights))


PROMPT = Prompt((Message("user", "2?"),), "plain")


def said(encoder: Encoder, text: str, decoded: str) -> Completion:
    """A call whose tokens are those of ``decoded``, stop string included."""
    tokens = tuple(Token(one, -0.1, 0.1, 0.5) for one in encoder.encode(PROMPT, decoded).ids[2:])
    return Completion("relay", text, tokens, len(text), "stop", 2, 0)


def test_the_small_models_own_tokens_are_learned_and_nothing_else(encoder: Encoder) -> None:
    first = said(encoder, "a<call>1", "a<call>1</call>")
    second = said(encoder, "c", "c.")
    (example,) = sequences(encoder, PROMPT, [("", first), ("a<call>1</call>B", second)])
    assert list(example.ids) == encoder.encode(PROMPT, "a<call>1</call>Bc.").ids
    learned = [label != IGNORED for label in example.labels]
    # The prompt (2 tokens) and what the large model wrote (B) are masked.
    assert learned == [False] * 2 + [True] * len("a<call>1</call>") + [False] + [True] * 2
    assert all(label in (IGNORED, one) for label, one in zip(example.labels, example.ids, strict=True))


def test_what_is_read_otherwise_than_it_was_written_begins_a_sequence_of_its_own(encoder: Encoder) -> None:
    first = said(encoder, "a<call>1", "a<call>1</call>!")  # its last token went beyond the stop string
    second = said(encoder, "c", "c.")
    one, two = sequences(encoder, PROMPT, [("", first), ("a<call>1</call>B", second)])
    assert list(one.ids) == encoder.encode(PROMPT, "a<call>1</call>!").ids
    assert list(two.ids) == encoder.encode(PROMPT, "a<call>1</call>Bc.").ids
    assert [label for label in two.labels if label != IGNORED] == encoder.encode(PROMPT, "c.").ids[2:]


def policy(tiny_weights: Path, **changes: object) -> Grpo:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(tiny_weights, dtype=torch.float32)
    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    return Grpo(adapted, GrpoRecipe.model_validate({"learning_rate": 0.01, **changes}))


CONTEXT = (40, 41, 42)


def chances(grpo: Grpo) -> torch.Tensor:
    with torch.no_grad():
        return torch.softmax(grpo.model(input_ids=torch.tensor([CONTEXT])).logits[0, -1], -1)


def drawn(grpo: Grpo, wanted: int, count: int, seed: int) -> list[Rollout]:
    """Rollouts of one token, of which one is worth 1 and all others nothing."""
    tokens = torch.multinomial(chances(grpo), count, True, generator=torch.Generator().manual_seed(seed)).tolist()
    tokens[0] = wanted  # exploration has found it once
    gained = torch.tensor([float(token == wanted) for token in tokens])
    spread = gained.std(correction=0) + 1e-6
    return [
        Rollout((Example((*CONTEXT, token), (*[IGNORED] * 3, token)),), float((reward - gained.mean()) / spread))
        for token, reward in zip(tokens, gained, strict=True)
    ]


def test_the_token_that_is_rewarded_is_learned(tiny_weights: Path) -> None:
    grpo = policy(tiny_weights, batch=4, kl=0.0)
    wanted = int(chances(grpo).argsort()[-20])
    began = float(chances(grpo)[wanted])
    for iteration in range(25):
        figures = grpo.update(drawn(grpo, wanted, 16, iteration), iteration)
        assert figures["kl"] >= 0
    assert began < 0.2
    assert float(chances(grpo)[wanted]) > 0.9


def test_a_heavy_penalty_holds_it_at_the_reference(tiny_weights: Path) -> None:
    free, held = policy(tiny_weights, kl=0.0, epochs=4), policy(tiny_weights, kl=1000.0, epochs=4)
    before = chances(free)
    wanted = int(before.argsort()[-20])
    for grpo in (free, held):
        for iteration in range(4):
            grpo.update(drawn(grpo, wanted, 16, iteration), iteration)
    moved = [float((chances(grpo) - before).abs().sum()) for grpo in (free, held)]
    assert moved[1] < moved[0] / 2


def test_the_ratio_is_clipped(tiny_weights: Path) -> None:
    grpo = policy(tiny_weights, epochs=8, kl=0.0, learning_rate=0.05)
    wanted = int(chances(grpo).argsort()[-20])
    assert grpo.update(drawn(grpo, wanted, 16, 0), 0)["clipped"] > 0
    once = policy(tiny_weights, epochs=1, kl=0.0)
    assert once.update(drawn(once, wanted, 16, 0), 0)["clipped"] == 0  # the first pass is on the policy itself


def test_reading_a_few_at_a_time_changes_nothing(tiny_weights: Path) -> None:
    whole, parts = (policy(tiny_weights, batch_tokens=size) for size in (4096, 4))
    wanted = int(chances(whole).argsort()[-20])
    for grpo in (whole, parts):
        grpo.update(drawn(grpo, wanted, 8, 0), 0)
    for name, tensor in whole.trained.items():
        assert torch.allclose(tensor, parts.trained[name], atol=1e-4), name
