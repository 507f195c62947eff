"""Baselines for Pyramid: the majority vote alone, one small model's own confidence, and a cascade."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import ClassVar

from mixroute import Completion, Granularity, Step, register_router
from routers.pyramid.checkpoint import checkpoint_folder, load_checkpoint, training_pool
from routers.pyramid.features import features, majority
from routers.pyramid.router import ask_all


@register_router("majority-vote")
class MajorityVote:
    """The answer that most small models give, without the oracle.

    Args:
        members: Models that vote; all of the pool but the oracle if not given.
        oracle: Name of the model that does not vote.
    """

    granularity: ClassVar[Granularity] = "query"
    role = "baseline"

    def __init__(self, members: list[str] | None = None, oracle: str = "high") -> None:
        self._members = members
        self._oracle = oracle

    async def act(self, step: Step) -> Completion:
        """Ask all members and count their votes."""
        answers = await ask_all(step, self._members or [name for name in step.models if name != self._oracle])
        return answers[majority(answers)]


class _FromCheckpoint:
    granularity: ClassVar[Granularity] = "query"
    role = "trained"

    def __init__(self, checkpoint: str) -> None:
        self._folder = checkpoint_folder(checkpoint)
        self._learned, self._trained_on = load_checkpoint(checkpoint)

    def trained_on(self) -> Collection[str]:
        """See ``harness.contracts.Trained``; the queries that thresholds were chosen on are among them."""
        return self._trained_on

    def trained_with(self) -> tuple[str, Mapping[str, str]]:
        """See ``harness.contracts.TrainedWithPool``."""
        return training_pool(self._folder)

    def content_files(self) -> Mapping[str, Path]:
        """See ``harness.contracts.BuiltFromFiles``."""
        return {"checkpoint": self._folder}


@register_router("confidence")
class Confidence(_FromCheckpoint):
    """The best small model, or the oracle where that model was unsure of its own answer.

    Its doubt is minus the mean log-probability of its answer's tokens, in nats.

    Args:
        checkpoint: Pyramid checkpoint, which holds the best model and the threshold.
        threshold: Escalate at or above this doubt. Default: the checkpoint's, chosen on development queries.
    """

    def __init__(self, checkpoint: str, threshold: float | None = None) -> None:
        super().__init__(checkpoint)
        self._threshold = self._learned.doubt if threshold is None else threshold

    async def act(self, step: Step) -> Completion:
        """The best model's answer, or the oracle's."""
        answer = await step.ask(self._learned.best)
        doubt = -answer.statistics.content_and_end.mean_logprob
        step.log(doubt=doubt, threshold=self._threshold)
        return await step.ask(self._learned.oracle) if doubt >= self._threshold else answer


@register_router("frugal")
class Frugal(_FromCheckpoint):
    """A cascade after FrugalGPT (arXiv 2305.05176): one member after the other, until an answer scores high enough.

    Ours: the score is the calibrated probability that the answer is right, by boosted trees on the answer alone,
    learned on the router's train queries; the thresholds, one for each member, are chosen jointly on development
    queries.

    Args:
        checkpoint: Pyramid checkpoint.
        threshold: One threshold for all members instead of the checkpoint's; in [0, 1].
    """

    def __init__(self, checkpoint: str, threshold: float | None = None) -> None:
        if threshold is not None and not 0 <= threshold <= 1:
            raise ValueError(f"threshold must lie in [0, 1], not {threshold}")
        super().__init__(checkpoint)
        accept = self._learned.accept if threshold is None else [threshold] * len(self._learned.members)
        self._stages = list(zip(self._learned.members, accept, strict=True))

    async def act(self, step: Step) -> Completion:
        """The first answer that is accepted, or the oracle's if none is."""
        for name, level in self._stages:
            if level is None:  # an answer that is never accepted is not asked for
                continue
            answer = await step.ask(name)
            row = features([answer], checked=self._learned.checked)
            chance = self._learned.right[name].probability(row)
            step.log(**{f"p_{name}": chance})
            if chance >= level:
                return answer
        return await step.ask(self._learned.oracle)
