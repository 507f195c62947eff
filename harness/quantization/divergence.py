"""Divergence of two models of one vocabulary on given actions, with teacher forcing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import log_softmax
from transformers import DynamicCache, PreTrainedModel

from harness.training.examples import IGNORED, Example, collate


@dataclass(frozen=True, slots=True)
class Divergence:
    """Divergence on one action of an example, the token that ends it included."""

    kl: tuple[float, ...]
    """KL(high || low) of each token's distribution, in nats."""
    flips: tuple[bool, ...]
    """Whether the low model would choose another token greedily, at each position."""

    @property
    def flip(self) -> bool:
        """Whether it would at some position."""
        return any(self.flips)

    def between(self, start: int, end: int) -> Divergence:
        """The divergence on some of the tokens."""
        return Divergence(self.kl[start:end], self.flips[start:end])


@torch.inference_mode()
def divergences(high: PreTrainedModel, low: PreTrainedModel, example: Example) -> list[Divergence]:
    """Compare the models at the learned tokens of ``example``; one entry for each action, in order.

    Actions are runs of neighbouring learned tokens.
    """
    batch = collate([example])
    learned = (batch["labels"][0, 1:] != IGNORED).nonzero()[:, 0]
    ours, theirs = (next_token_logprobs(model, batch["input_ids"], learned) for model in (high, low))
    return _compared(ours, theirs, _runs(learned.tolist()))


@torch.inference_mode()
def answer_divergences(
    high: PreTrainedModel, low: PreTrainedModel, ids: Sequence[int], answers: Sequence[tuple[int, Sequence[int]]]
) -> list[Divergence]:
    """Compare the models on answers that branch off a text, which is read once.

    Args:
        high: The reference, whose distribution weights the divergence.
        low: The other.
        ids: The text.
        answers: For each answer the number of ``ids`` that it follows, at least one, and its tokens.
    """
    # The branches lie behind the text; their tokens see the part of it that they follow, and their own branch.
    tokens, positions = list(ids), list(range(len(ids)))
    keep: list[int] = []
    runs: list[list[int]] = []
    size = len(ids) + sum(len(answer) - 1 for _, answer in answers)
    sees = torch.zeros(size, size, dtype=torch.bool)
    sees[: len(ids), : len(ids)] = torch.ones(len(ids), len(ids), dtype=torch.bool).tril()
    for start, answer in answers:
        place, count = len(tokens), len(answer) - 1
        sees[place : place + count, :start] = True
        sees[place : place + count, place : place + count] = torch.ones(count, count, dtype=torch.bool).tril()
        tokens += answer[:-1]
        positions += range(start, start + count)
        runs.append(list(range(len(keep), len(keep) + len(answer))))
        keep += [start - 1, *range(place, place + count)]
    placed = {
        "position_ids": torch.tensor([positions]),
        "attention_mask": torch.zeros(size, size).masked_fill(~sees, float("-inf"))[None, None],
    }
    ours, theirs = (
        next_token_logprobs(model, torch.tensor([tokens]), torch.tensor(keep), **placed) for model in (high, low)
    )
    return _compared(ours, theirs, runs)


def _compared(ours: Tensor, theirs: Tensor, runs: Sequence[Sequence[int]]) -> list[Divergence]:
    """Divergences of each run of positions, from log-probabilities of shape (positions, vocabulary)."""
    kl = _token_divergences(ours, theirs).tolist()
    other = (ours.argmax(-1) != theirs.argmax(-1)).tolist()
    return [Divergence(tuple(kl[place] for place in run), tuple(other[place] for place in run)) for run in runs]


def _token_divergences(ours: Tensor, theirs: Tensor) -> Tensor:
    return (ours.exp() * (ours - theirs)).sum(-1).double()


def next_token_logprobs(model: PreTrainedModel, ids: Tensor, keep: Tensor, **placed: Tensor) -> Tensor:
    """Log-probabilities of the token after each position in ``keep``: shape (positions, vocabulary), float32, on the
    CPU.

    Args:
        model: A causal language model.
        ids: Shape (1, tokens).
        keep: Positions in ``ids``, shape (positions,).
        placed: ``position_ids`` and an additive ``attention_mask``, where they differ from those of a plain text.
    """
    more = {
        name: one.to(model.device, model.dtype if one.is_floating_point() else None) for name, one in placed.items()
    }
    positions = keep.to(model.device)
    logits = model(input_ids=ids.to(model.device), logits_to_keep=positions, use_cache=False, **more).logits
    return log_softmax(logits[0].float().cpu(), dim=-1)


_CACHED_TOKENS = 50_000
"""Most tokens in key-value caches; the oldest prompts are dropped first. 2.3 GB in float32 for SmolLM2-135M."""


class Reader:
    """Reads the growing prompts of several episodes with a key-value cache for each, so that only new tokens are
    computed.

    Args:
        model: A causal language model.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._read: dict[tuple[int, ...], DynamicCache] = {}

    @torch.inference_mode()
    def logprobs(self, prompt: Sequence[int], answer: Sequence[int]) -> Tensor:
        """Log-probabilities at each token of ``answer``, which follows ``prompt``: shape (tokens, vocabulary),
        float32, on the CPU.
        """
        ids = tuple(prompt)
        known = max((read for read in self._read if read == ids[: len(read)] and read != ids), key=len, default=())
        cache = self._read.pop(known, None) or DynamicCache()
        new = torch.tensor([[*ids[len(known) :], *answer[:-1]]], device=self._model.device)
        read = self._model(input_ids=new, past_key_values=cache, use_cache=True, logits_to_keep=len(answer))
        if len(answer) > 1:
            cache.crop(1 - len(answer))  # the next prompt may go on with another answer
        self._read[ids] = cache
        while len(self._read) > 1 and sum(map(len, self._read)) > _CACHED_TOKENS:
            del self._read[next(iter(self._read))]
        return log_softmax(read.logits[0].float().cpu(), dim=-1)


def mean_divergence(ours: Tensor, theirs: Tensor) -> float:
    """KL(high || low) in nats, mean over tokens.

    Args:
        ours: High's log-probabilities, shape (tokens, vocabulary).
        theirs: Low's log-probabilities, of the same shape.
    """
    return float(_token_divergences(ours, theirs).mean())


@torch.inference_mode()
def choice_divergence(
    high: PreTrainedModel, low: PreTrainedModel, prompt: Sequence[int], choices: Sequence[Sequence[int]]
) -> float:
    """KL(high || low) in nats over a list of choices, whose likelihoods after ``prompt`` are normalised to sum to
    one.
    """
    ours, theirs = (log_softmax(_log_likelihoods(model, prompt, choices), dim=0) for model in (high, low))
    return float((ours.exp() * (ours - theirs)).sum())


def _log_likelihoods(model: PreTrainedModel, prompt: Sequence[int], choices: Sequence[Sequence[int]]) -> Tensor:
    """Log-likelihood of each choice after the prompt, which is read once. Shape (choices,), float64."""
    start = torch.tensor([list(prompt)], device=model.device)
    read = model(input_ids=start, use_cache=True, logits_to_keep=1)
    first = log_softmax(read.logits[0, -1].float(), dim=-1).cpu()
    longest = max(len(choice) for choice in choices)
    ids = torch.zeros(len(choices), longest, dtype=torch.long)
    for row, choice in enumerate(choices):
        ids[row, : len(choice)] = torch.tensor(list(choice))
    total = first[ids[:, 0]].double()
    if longest > 1:
        cache = read.past_key_values
        cache.batch_repeat_interleave(len(choices))
        logits = model(input_ids=ids[:, :-1].to(model.device), past_key_values=cache, use_cache=True).logits
        later = log_softmax(logits.float(), dim=-1).cpu().gather(-1, ids[:, 1:, None])[..., 0]
        counted = torch.arange(1, longest) < torch.tensor([len(choice) for choice in choices])[:, None]
        total += later.double().where(counted, 0.0).sum(-1)
    return total


def _runs(places: Sequence[int]) -> list[list[int]]:
    """Indices of ``places``, grouped into runs of consecutive places."""
    runs: list[list[int]] = []
    for number, place in enumerate(places):
        if number and place == places[number - 1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs
