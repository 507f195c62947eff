"""How far two models of one vocabulary are apart on given actions, teacher-forced: every token is read as it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import log_softmax
from transformers import PreTrainedModel

from harness.training.examples import IGNORED, Example, collate


@dataclass(frozen=True, slots=True)
class Divergence:
    """One action of an example, the token that ends it included."""

    kl: tuple[float, ...]
    """KL(high || low) of each token's distribution, in nats."""
    flip: bool
    """Whether some token would be another one if the low model chose it greedily."""


@torch.inference_mode()
def divergences(high: PreTrainedModel, low: PreTrainedModel, example: Example) -> list[Divergence]:
    """Compare the models at the learned tokens of ``example``; one entry an action, in order.

    Actions are runs of neighbouring learned tokens.
    """
    batch = collate([example])
    learned = (batch["labels"][0, 1:] != IGNORED).nonzero()[:, 0]
    ours = next_token_logprobs(high, batch["input_ids"], learned)
    theirs = next_token_logprobs(low, batch["input_ids"], learned)
    kl = (ours.exp() * (ours - theirs)).sum(-1).double().tolist()
    other = (ours.argmax(-1) != theirs.argmax(-1)).tolist()
    found: list[Divergence] = []
    for places in _runs(learned.tolist()):
        found.append(Divergence(tuple(kl[place] for place in places), any(other[place] for place in places)))
    return found


def next_token_logprobs(model: PreTrainedModel, ids: Tensor, keep: Tensor) -> Tensor:
    """Of the token after each position in ``keep``: shape (positions, vocabulary), float32, on the CPU.

    Args:
        model: A causal language model.
        ids: Shape (1, tokens).
        keep: Positions in ``ids``, shape (positions,).
    """
    logits = model(input_ids=ids.to(model.device), logits_to_keep=keep.to(model.device), use_cache=False).logits
    return log_softmax(logits[0].float().cpu(), dim=-1)


@torch.inference_mode()
def choice_divergence(
    high: PreTrainedModel, low: PreTrainedModel, prompt: Sequence[int], choices: Sequence[Sequence[int]]
) -> float:
    """KL(high || low) in nats over a list of choices, each as likely as its tokens after ``prompt``, together one."""
    ours, theirs = (log_softmax(_log_likelihoods(model, prompt, choices), dim=0) for model in (high, low))
    return float((ours.exp() * (ours - theirs)).sum())


def _log_likelihoods(model: PreTrainedModel, prompt: Sequence[int], choices: Sequence[Sequence[int]]) -> Tensor:
    """Of each choice after the prompt, which is read once. Shape (choices,), float64."""
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
    """Numbers of neighbouring places, grouped."""
    runs: list[list[int]] = []
    for number, place in enumerate(places):
        if number and place == places[number - 1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs
