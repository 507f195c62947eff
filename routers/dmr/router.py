"""The routers ``kl-sft`` and ``dmr``: a trained network chooses the precision of each step."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import ClassVar

import torch

from mixroute import Completion, Granularity, Step, register_router
from routers.dmr.checkpoint import find_checkpoint, load_checkpoint
from routers.dmr.drafts import LENGTHS, facts_of
from routers.dmr.features import views
from routers.dmr.network import RouterNetwork, Trajectory

_ROWS = 16
"""Decisions in one forward pass. Fewer are padded: a matrix product may round differently for other row counts."""

_LENGTHS = (8, 16, 24, 32, 48)
"""Shorter trajectories are padded to one of these lengths, longer ones to the most steps that the network reads."""


class Decider:
    """Computes probabilities of high; decisions that arrive at the same time share one forward pass.

    The pass counts as router time of the first of them, so that the router times of all episodes add up to the total.
    """

    def __init__(self, network: RouterNetwork) -> None:
        self._network = network.eval()
        self._waiting: list[tuple[Trajectory, asyncio.Future[float]]] = []

    async def probability(self, trajectory: Trajectory) -> float:
        """The probability that high should answer the last step."""
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting.append((trajectory.last(self._network.config.steps), future))
        first = len(self._waiting) == 1
        await asyncio.sleep(0)
        if first:
            self._decide()
        return await future

    def _decide(self) -> None:
        waiting, self._waiting = self._waiting, []
        by_length: dict[int, list[tuple[Trajectory, asyncio.Future[float]]]] = {}
        for one in waiting:
            most = self._network.config.steps
            fitting = (length for length in _LENGTHS if len(one[0].steps) <= length < most)
            by_length.setdefault(next(fitting, most), []).append(one)
        for length, group in by_length.items():
            for start in range(0, len(group), _ROWS):
                self._pass(group[start : start + _ROWS], length)

    def _pass(self, group: list[tuple[Trajectory, asyncio.Future[float]]], length: int) -> None:
        with torch.inference_mode():
            logits = self._network([trajectory for trajectory, _ in group], _ROWS, length)
            chances = torch.sigmoid(logits.double())
        for row, (trajectory, future) in enumerate(group):
            if not future.done():
                future.set_result(float(chances[row, len(trajectory.steps) - 1]))


class LearnedRouter:
    """High where the network's probability reaches the threshold.

    Args:
        network: Trained network.
        threshold: Least probability of high, in [0, 1].
        sample: Draw the choice with the network's probability instead, as in training.
    """

    granularity: ClassVar[Granularity] = "step"
    role = "trained"

    def __init__(self, network: RouterNetwork, threshold: float = 0.5, *, sample: bool = False) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must lie in [0, 1], not {threshold}")
        self._decider = Decider(network)
        self._reads = network.config.reads
        self._threshold = threshold
        self._sample = sample

    async def act(self, step: Step) -> Completion:
        """Ask the model that the network chooses."""
        states = draft = None
        if self._reads == "hidden":
            states = torch.tensor([(await step.read("low")).state])
        elif self._reads in LENGTHS:
            draft = await step.ask("low")
            action = step.parse_action(draft.text)
            states = torch.tensor([facts_of(self._reads, draft, action, step.turns, step.observation)])
        seen = views(step.turns, step.observation, step.models_used)
        chance = await self._decider.probability(Trajectory(seen, states))
        step.log(p_high=chance)
        limit = step.rng.random() if self._sample else self._threshold
        if chance >= limit:
            return await step.ask("high")
        return draft or await step.ask("low")


class _FromCheckpoint(LearnedRouter):
    def __init__(self, checkpoint: str, threshold: float = 0.5) -> None:
        self._folder = find_checkpoint(checkpoint)
        network, self._card, self._trained_on = load_checkpoint(self._folder)
        super().__init__(network, threshold)

    def trained_on(self) -> Collection[str]:
        """See ``harness.contracts.Trained``."""
        return self._trained_on

    def trained_with(self) -> tuple[str, Mapping[str, str]]:
        """See ``harness.contracts.TrainedWithPool``."""
        return self._card.trained_with

    def content_files(self) -> Mapping[str, Path]:
        """See ``harness.contracts.BuiltFromFiles``."""
        return {"checkpoint": self._folder}


@register_router("kl-sft")
class KlSft(_FromCheckpoint):
    """Stage one of DMR alone: trained to predict the steps at which both precisions' action distributions differ.

    Args:
        checkpoint: Name of a shipped checkpoint, or its folder.
        threshold: Least probability at which high is asked.
    """


@register_router("dmr")
class Dmr(_FromCheckpoint):
    """Dynamic Mixed-Precision Routing: trained by GRPO on success minus the cost of high steps.

    Args:
        checkpoint: Name of a shipped checkpoint, or its folder.
        threshold: Least probability at which high is asked.
    """
