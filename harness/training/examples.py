"""Training examples from demonstrations: one example for each episode, with labels at the tokens to be learned."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.backends.encoding import Encoder
from harness.contracts import Task
from harness.data import Prompt
from harness.errors import MixrouteError
from harness.training.demonstrate import Demonstration

IGNORED = -100
"""Label of a token that is not learned."""


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids of an episode; ``labels`` holds the ids of learned tokens and ``IGNORED`` elsewhere."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]


def encode(demonstration: Demonstration, task: Task, encoder: Encoder) -> Example:
    """Encode an episode in the tokens that the model reads in play; learned actions include the token that ends them.

    Raises:
        MixrouteError: a step's prompt does not begin with the one before it, so that steps cannot share an example.
    """
    turns = demonstration.turns
    observations = [*(turn.observation for turn in turns), demonstration.final]
    prompts = [task.prompt(turns[:n], observation) for n, observation in enumerate(observations)]
    ids = encoder.encode(prompts[-1]).ids
    labels = [IGNORED] * len(ids)
    end = 0
    for turn, taught, prompt in zip(turns, demonstration.taught, prompts, strict=False):
        start = len(encoder.encode(prompt).ids)
        found = reply_end(encoder, prompt, turn.text, task.stop, ids)
        if found is None:
            raise MixrouteError(
                f"{demonstration.instance.id}: the prompt of step {len(turns)} does not begin with the prompt and the "
                "answer of an earlier step: whole episodes need an append-only prompt, such as one of format 'plain'"
            )
        end = found
        if taught:
            labels[start:end] = ids[start:end]
    return Example(tuple(ids[:end]), tuple(labels[:end]))


def reply_end(encoder: Encoder, prompt: Prompt, text: str, stop: Sequence[str], ids: Sequence[int]) -> int | None:
    """Where a reply ends in the tokens of a later prompt, with what ends it; None if that goes on otherwise.

    Args:
        encoder: Tokenises prompts.
        prompt: What the reply answers.
        text: The reply.
        stop: Stop strings, of which the first ends it. It may have several tokens, and one in common with the reply.
        ids: The later prompt.
    """
    answered, closed = (encoder.encode(prompt, text + end).ids for end in ("", "".join(stop[:1])))
    ends = [len(answered) + 1] if list(ids[: len(answered)]) == answered else []
    ends += [len(closed)] if list(ids[: len(closed)]) == closed else []
    return max(ends, default=None)


def batched(examples: Sequence[Example], batch_tokens: int, seed: int) -> list[list[Example]]:
    """Group examples of similar length into batches of at most ``batch_tokens`` with padding; a longer one is alone.

    The order of the batches is random and depends on the seed alone.
    """
    rng = random.Random(seed)  # noqa: S311 - reproducible on purpose
    ordered = sorted(examples, key=lambda example: (len(example.ids), rng.random()))
    batches: list[list[Example]] = []
    for example in ordered:
        if batches and len(example.ids) * (len(batches[-1]) + 1) <= batch_tokens:
            batches[-1].append(example)
        else:
            batches.append([example])
    rng.shuffle(batches)
    return batches


def collate(batch: Sequence[Example]) -> dict[str, Tensor]:
    """Tensors ``input_ids`` and ``labels`` of shape (examples, longest). Padding is on the right, where causal
    attention hides it, so no mask is needed.
    """
    longest = max(len(example.ids) for example in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    labels = torch.full((len(batch), longest), IGNORED)
    for row, example in enumerate(batch):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        labels[row, : len(example.labels)] = torch.tensor(example.labels)
    return {"input_ids": ids, "labels": labels}
