"""A tiny model that answers with digits and ends; half of the time it calls a larger one, if it was told how."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from routers.relay.recipe import WarmUpRecipe
from routers.relay.training_data import with_tags
from tests.tiny_model import save_tiny_model

_BATCH = 16


def save_talker(folder: Path, seed: int, commands: int, steps: int) -> None:
    """Write a model of ``tests.tiny_model``, trained for some seconds.

    Args:
        folder: Where to.
        seed: Of weights and texts.
        commands: Most commands in an answer.
        steps: Updates; 60 are enough for digits, 120 for commands.
    """
    from transformers import AutoTokenizer, LlamaForCausalLM

    save_tiny_model(folder, seed)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = LlamaForCausalLM.from_pretrained(folder)
    rng = random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(steps):
        texts = [_text(rng, commands) for _ in range(_BATCH)]
        rows = [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in texts]
        longest = max(map(len, rows))
        labels = torch.tensor([row + [-100] * (longest - len(row)) for row in rows])
        logits = model(input_ids=labels.clamp_min(0)).logits
        loss = cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    model.save_pretrained(folder)


def _text(rng: random.Random, commands: int) -> str:
    digits = " ".join(f"{rng.randrange(100):02}" for _ in range(rng.randint(2, 4)))
    return f"{rng.randrange(10000):04}?" + with_tags(f" {digits}", WarmUpRecipe(commands=commands, tokens=9), rng)
