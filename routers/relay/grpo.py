"""GRPO on the tokens that the small model wrote: rollouts, and updates of its adapter.

The advantage of a rollout is its reward minus the mean of its group (the rollouts of one prompt), over the group's
standard deviation. The prompt and the large model's tokens are context and not learned. The ratio is clipped (PPO); KL
to the model after warm-up is estimated token by token by ``exp(d) - d - 1``, d = log of reference over policy
(DeepSeekMath, arXiv 2402.03300, section 4.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean, pstdev

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from harness.backends.encoding import Encoder
from harness.contracts import Backend, Granularity, Step
from harness.data import Completion, Prompt
from harness.engine.opening import OpenTask
from harness.seeding import seed_for
from harness.training.examples import IGNORED, Example, batched, collate
from harness.training.play import draw_instances, play_rounds
from routers.relay.recipe import RELAY, GrpoRecipe, RelayRecipe
from routers.relay.reward import Outcome, rewards, rho_of
from routers.relay.router import Relayed, relay


@dataclass(frozen=True, slots=True)
class Rollout:
    """An answer with its advantage. The labels of ``sequences`` are the small model's tokens."""

    sequences: tuple[Example, ...]
    advantage: float


class Sampled:
    """The router in training: it samples, and keeps its answers; the trace records their index as ``rollout``."""

    granularity: Granularity = "token"

    def __init__(self, recipe: RelayRecipe) -> None:
        self._recipe = recipe
        self.relayed: list[tuple[Prompt, Relayed]] = []

    async def act(self, step: Step) -> Completion:
        """Relay one answer."""
        done = await relay(step, RELAY, self._recipe.large, self._recipe.calls, self._recipe.grpo.temperature)
        step.log(rollout=len(self.relayed))
        self.relayed.append((step.prompt, done))
        return done.answer


def roll_out(
    recipe: RelayRecipe, tasks: Sequence[OpenTask], pool: Mapping[str, Backend], encoder: Encoder, seed: int
) -> tuple[list[Rollout], dict[str, float]]:
    """Play the rollouts of an iteration. Groups whose rewards are all equal are left out.

    Args:
        recipe: Models and hyperparameters.
        tasks: Tasks to draw prompts from, in equal shares.
        pool: The policy as ``relay``, and the large model.
        encoder: Encoder of the policy.
        seed: Seed of the iteration.

    Returns:
        The rollouts, and metrics to log.
    """
    rollouts: list[Rollout] = []
    outcomes: list[Outcome] = []
    earned: list[float] = []
    for number, opened in enumerate(tasks):
        share = recipe.grpo.prompts // len(tasks) + (number < recipe.grpo.prompts % len(tasks))
        drawn = draw_instances(opened.instances, share, seed)
        groups: dict[str, list[tuple[Outcome, tuple[Example, ...]]]] = {one.id: [] for one in drawn}
        rounds = [(Sampled(recipe), seed_for(seed, turn)) for turn in range(recipe.grpo.group)]
        for (router, _), episodes in zip(rounds, play_rounds(opened, rounds, pool, drawn), strict=True):
            for episode in episodes:
                if episode.error or not episode.steps:
                    continue
                prompt, done = router.relayed[int(episode.steps[0].scores["rollout"])]
                rho = rho_of(done.requested, done.answer.content_tokens)
                outcome = Outcome(episode.success, bool(done.requested), rho)
                groups[episode.instance].append((outcome, sequences(encoder, prompt, done.small_calls)))
        for group in groups.values():
            outcomes += [outcome for outcome, _ in group]
            gained = rewards([outcome for outcome, _ in group])
            earned += gained
            spread = pstdev(gained) if gained else 0.0
            if spread > 0:
                middle = fmean(gained)
                rollouts += [
                    Rollout(own, (reward - middle) / (spread + 1e-6))
                    for (_, own), reward in zip(group, gained, strict=True)
                ]
    return rollouts, {
        "reward": fmean(earned) if earned else 0.0,
        "success": fmean(one.right for one in outcomes) if outcomes else 0.0,
        "called": fmean(one.called for one in outcomes) if outcomes else 0.0,
        "rho": fmean(one.rho for one in outcomes) if outcomes else 0.0,
        "learned": len(rollouts) / max(1, len(outcomes)),
    }


def sequences(encoder: Encoder, prompt: Prompt, small_calls: Sequence[tuple[str, Completion]]) -> tuple[Example, ...]:
    """Token ids that the small model read and wrote in one answer, with its own tokens as labels.

    They make one sequence, unless the text that it wrote is later encoded as other tokens. Then a new sequence begins,
    so that every token is learned in the context that it was sampled in.
    """
    made: list[Example] = []
    for history, call in small_calls:
        context = tuple(encoder.encode(prompt, history).ids)
        wrote = tuple(token.id for token in call.tokens)
        last = made[-1] if made else None
        if last is not None and context[: len(last.ids)] == last.ids:
            read = (IGNORED,) * (len(context) - len(last.ids))
            made[-1] = Example(context + wrote, last.labels + read + wrote)
        else:
            made.append(Example(context + wrote, (IGNORED,) * len(context) + wrote))
    return tuple(made)


class Grpo:
    """The policy and its updates.

    Args:
        model: Initial model; parameters that require a gradient are trained in place, and a copy is the reference.
        options: Hyperparameters.
        bfloat16: Whether matrix products are computed in bfloat16.
    """

    def __init__(self, model: nn.Module, options: GrpoRecipe, *, bfloat16: bool = False) -> None:
        self.model = model.eval()  # without dropout: the policy that plays is the policy that is updated
        self.trained: dict[str, Tensor] = {name: one for name, one in model.named_parameters() if one.requires_grad}
        self.optimizer = torch.optim.AdamW(self.trained.values(), options.learning_rate, weight_decay=0.0)
        self._reference = {name: one.detach().clone() for name, one in self.trained.items()}
        self._options = options
        self._device = next(model.parameters()).device
        self._autocast = torch.autocast(self._device.type, torch.bfloat16, enabled=bfloat16)

    def update(self, rollouts: Sequence[Rollout], seed: int) -> dict[str, float]:
        """Make several passes over the rollouts; returns the means of the metrics over all updates."""
        examples = [example for one in rollouts for example in one.sequences]
        before = self._fixed(examples)
        with self._as_reference():
            reference = self._fixed(examples)
        figures = []
        for epoch in range(self._options.epochs):
            order = sorted(range(len(rollouts)), key=lambda place: seed_for(seed, epoch, place))
            for start in range(0, len(order), self._options.batch):
                batch = [rollouts[place] for place in order[start : start + self._options.batch]]
                figures.append(self._step(batch, before, reference))
        return {name: fmean(one[name] for one in figures) if figures else 0.0 for name in ("kl", "clipped")}

    def _step(
        self, batch: Sequence[Rollout], before: Mapping[int, Tensor], reference: Mapping[int, Tensor]
    ) -> dict[str, float]:
        """Make one update on the mean over the tokens of a rollout, then over rollouts."""
        advantage: dict[int, float] = {}
        weight: dict[int, float] = {}
        for one in batch:
            count = sum(label != IGNORED for example in one.sequences for label in example.labels)
            for example in one.sequences:
                advantage[id(example)], weight[id(example)] = one.advantage, 1 / (count * len(batch))
        figures = {"kl": 0.0, "clipped": 0.0}
        self.optimizer.zero_grad()
        for several in batched([e for one in batch for e in one.sequences], self._options.batch_tokens, 0):
            loss = torch.zeros((), device=self._device)
            for example, ours in zip(several, self._logprobs(several), strict=True):
                key = id(example)
                ratio = (ours - before[key]).exp()
                clipped = ratio.clamp(1 - self._options.clip, 1 + self._options.clip)
                gain = torch.minimum(ratio * advantage[key], clipped * advantage[key])
                apart = reference[key] - ours
                kl = apart.exp() - apart - 1
                loss = loss + weight[key] * (self._options.kl * kl - gain).sum()
                figures["kl"] += weight[key] * float(kl.detach().sum())
                figures["clipped"] += weight[key] * float((ratio != clipped).sum())
            loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.trained.values(), 1.0)
        self.optimizer.step()
        return figures

    def _logprobs(self, several: Sequence[Example]) -> list[Tensor]:
        """Log-probabilities of the labels of each example; logits are computed at their positions only."""
        batch = {name: one.to(self._device) for name, one in collate(several).items()}
        labels = batch["labels"][:, 1:]
        keep = (labels != IGNORED).any(dim=0).nonzero()[:, 0]
        with self._autocast:
            logits = self.model(input_ids=batch["input_ids"], logits_to_keep=keep, use_cache=False).logits
        labels = labels[:, keep]
        found = log_softmax(logits.float(), dim=-1).gather(-1, labels.clamp_min(0)[..., None])[..., 0]
        return [row[own != IGNORED] for row, own in zip(found, labels, strict=True)]

    @torch.no_grad()
    def _fixed(self, examples: Sequence[Example]) -> dict[int, Tensor]:
        """Log-probabilities of the labels of all examples, by ``id``, without gradients."""
        return {
            id(example): values
            for several in batched(examples, self._options.batch_tokens, 0)
            for example, values in zip(several, self._logprobs(several), strict=True)
        }

    @contextmanager
    def _as_reference(self) -> Iterator[None]:
        """Restore the initial weights until the block ends."""
        own = {name: one.detach().clone() for name, one in self.trained.items()}
        self._put(self._reference)
        try:
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, weights: Mapping[str, Tensor]) -> None:
        for name, one in self.trained.items():
            one.copy_(weights[name])
