"""Stage two (GRPO): the router is rewarded for episodes that are won with few high steps.

Paper: GRPO on top of stage one, reward = success - lambda * cost. Ours: a group is G rollouts of one instance with
choices drawn from the network; the cost is the share of high steps; the advantage is the reward less the group's mean,
over its standard deviation or not; the ratio is clipped (PPO); KL to stage one is exact: a choice has two outcomes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from harness.contracts import Backend
from harness.engine.opening import OpenTask
from harness.records import Episode
from harness.seeding import seed_for
from harness.training.play import draw_instances, play_episodes
from routers.dmr.data import padded, trajectories
from routers.dmr.network import RouterNetwork, Trajectory
from routers.dmr.recipe import GrpoRecipe
from routers.dmr.router import LearnedRouter


@dataclass(frozen=True, slots=True)
class Rollout:
    """A finished episode with its advantage."""

    trajectory: Trajectory
    high: Tensor
    """The choices: 1 where high answered, shape (steps,)."""
    advantage: float


class Grpo:
    """The policy and its updates.

    Args:
        network: Initial network; it is trained in place, and a copy of it is the reference.
        options: Hyperparameters.
        price: Lambda of the reward.
        readers: Names of the models that tell low's hidden states; see ``readers_of``.
    """

    def __init__(
        self, network: RouterNetwork, options: GrpoRecipe, price: float, readers: Sequence[str] = ("low",)
    ) -> None:
        self.network = network.eval()  # without dropout: the policy that plays is the policy that is updated
        self.optimizer = torch.optim.AdamW(network.parameters(), options.learning_rate, weight_decay=0.0)
        self.reference = copy.deepcopy(network).requires_grad_(requires_grad=False)
        self._options = options
        self._price = price
        self._readers = readers

    def iterate(self, tasks: Sequence[OpenTask], pool: Mapping[str, Backend], seed: int) -> dict[str, float]:
        """Roll out and update once; returns the metrics to log.

        Args:
            tasks: Tasks to draw instances from, in equal shares.
            pool: The models.
            seed: Seed of this iteration.
        """
        rollouts: list[Rollout] = []
        episodes: list[Episode] = []
        for number, opened in enumerate(tasks):
            groups: dict[str, list[Episode]] = {}
            share = self._options.instances // len(tasks) + (number < self._options.instances % len(tasks))
            drawn = draw_instances(opened.instances, share, seed)
            for rollout in range(self._options.group):
                router = LearnedRouter(self.network, sample=True)
                for episode in play_episodes(opened, router, pool, seed_for(seed, rollout), drawn):
                    if episode.steps and not episode.error:
                        groups.setdefault(episode.instance, []).append(episode)
            for group in groups.values():
                episodes += group
                rollouts += self._with_advantages(group, opened, pool)
        return {**self._summary(episodes), **self._update(rollouts, seed)}

    def reward(self, episode: Episode) -> float:
        """``success - lambda * share of high steps``."""
        return float(episode.success) - self._price * episode.high_share

    def _with_advantages(
        self, group: Sequence[Episode], opened: OpenTask, pool: Mapping[str, Backend]
    ) -> list[Rollout]:
        """The group's rollouts with their advantages; none if all rewards are equal."""
        rewards = [self.reward(episode) for episode in group]
        mean, spread = fmean(rewards), pstdev(rewards)
        if spread == 0:
            return []
        config = self.network.config
        reading = {name: pool[name] for name in self._readers if name in pool}
        unit = spread + 1e-6 if self._options.scale == "group" else 1.0
        return [
            Rollout(
                trajectory,
                torch.tensor([float(step.model == "high") for step in episode.steps[-config.steps :]]),
                (reward - mean) / unit,
            )
            for episode, reward, trajectory in zip(
                group, rewards, trajectories(group, opened.task, config, reading), strict=True
            )
        ]

    def _update(self, rollouts: Sequence[Rollout], seed: int) -> dict[str, float]:
        """Make several passes over the rollouts; returns the means of the metrics over all updates."""
        batches = []
        for epoch in range(self._options.epochs):
            order = sorted(range(len(rollouts)), key=lambda place: seed_for(seed, epoch, place))
            for start in range(0, len(order), self._options.batch):
                batches.append([rollouts[place] for place in order[start : start + self._options.batch]])
        with torch.no_grad():
            before = {id(one): self.network([one.trajectory])[0] for one in rollouts}
            reference = {id(one): self.reference([one.trajectory])[0] for one in rollouts}
        figures = [
            self._step(batch, [before[id(one)] for one in batch], [reference[id(one)] for one in batch])
            for batch in batches
        ]
        names = ("kl", "entropy", "clipped")
        return {name: fmean(one[name] for one in figures) if figures else 0.0 for name in names}

    def _step(
        self, batch: Sequence[Rollout], before: Sequence[Tensor], reference: Sequence[Tensor]
    ) -> dict[str, float]:
        """Make one update; ``before`` and ``reference`` are logits of the policy that played and of stage one."""
        length = max(len(one.high) for one in batch)
        high = padded([one.high for one in batch], length)
        counts = padded([torch.ones_like(one.high) / len(one.high) for one in batch], length)
        counts = counts / len(batch)  # the mean over an episode's steps, then over episodes
        advantage = torch.tensor([one.advantage for one in batch])[:, None]
        logits = self.network([one.trajectory for one in batch])
        ratio = (_log_chance(logits, high) - _log_chance(padded(before, length), high)).exp()
        clipped = ratio.clamp(1 - self._options.clip, 1 + self._options.clip)
        gain = torch.minimum(ratio * advantage, clipped * advantage)
        kl = bernoulli_kl(logits, padded(reference, length))
        loss = (counts * (self._options.kl * kl - gain)).sum()
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            entropy = -(torch.sigmoid(logits) * logsigmoid(logits) + torch.sigmoid(-logits) * logsigmoid(-logits))
            return {
                "kl": float((counts * kl).sum()),
                "entropy": float((counts * entropy).sum()),
                "clipped": float((counts * (ratio != clipped)).sum()),
            }

    def _summary(self, episodes: Sequence[Episode]) -> dict[str, float]:
        shares = [episode.high_share for episode in episodes]
        return {
            "reward": fmean(self.reward(episode) for episode in episodes),
            "success": fmean(episode.success for episode in episodes),
            "high_share": fmean(shares),
            "collapse": fmean(share in (0, 1) for share in shares),
        }


def bernoulli_kl(ours: Tensor, theirs: Tensor) -> Tensor:
    """KL(ours || theirs) of choices given by their logits, in nats, elementwise."""
    chance = torch.sigmoid(ours)
    return chance * (logsigmoid(ours) - logsigmoid(theirs)) + (1 - chance) * (logsigmoid(-ours) - logsigmoid(-theirs))


def _log_chance(logits: Tensor, high: Tensor) -> Tensor:
    """Log-probability of the choices made; shapes (episodes, steps)."""
    return torch.where(high > 0, logsigmoid(logits), logsigmoid(-logits))
