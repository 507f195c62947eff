"""The routers ``pyramid`` and ``anchored-oracle``."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import ClassVar, Literal

from harness.records import CallRecord
from mixroute import Completion, Granularity, MixrouteError, Step, register_router
from routers.pyramid.answers import votes
from routers.pyramid.checkpoint import Escalation, checkpoint_folder, load_checkpoint, training_pool
from routers.pyramid.features import features, majority

_SHOWN = 200
"""Most characters of an answer in the oracle's context."""


async def ask_all(step: Step, members: Sequence[str]) -> list[Completion]:
    """Ask all members at the same time; calls start, and are charged and recorded, in this order."""
    return await asyncio.gather(*(step.ask(name) for name in members))


async def ask_oracle(step: Step, oracle: str, drafts: Sequence[Completion], *, anchored: bool) -> Completion:
    """The oracle's answer.

    Args:
        step: The query.
        oracle: Name of the oracle in the pool.
        drafts: The ensemble's answers.
        anchored: Whether the oracle sees them. A router cannot change the task's prompt, so the oracle's answer is
            prefilled with a sentence that lists them. The sentence is charged as prefill and not graded.
    """
    if not anchored:
        return await step.ask(oracle)
    shown = [(vote or "none")[:_SHOWN] for vote in votes([draft.text for draft in drafts])]
    return await step.ask(oracle, continue_from=f" (Answers of smaller models: {'; '.join(shown)}.)\n")


def value_of_computation(
    p_wrong: float, drafts: Sequence[Completion | CallRecord], way: Escalation, tokens: float
) -> float:
    """Expected gain in accuracy from asking the oracle, per its expected cost.

    ``(P_wrong * P(oracle fixes) - P_right * P(oracle breaks)) / cost``. Ours: the oracle's answer is
    expected to be longer than average by the same factor as the drafts, so the cost is the mean length of the drafts
    over ``tokens``, their mean length on development queries.
    """
    gain = p_wrong * way.fixes - (1 - p_wrong) * way.breaks
    return gain / (fmean(len(draft.statistics.content_and_end) for draft in drafts) / tokens)


@register_router("pyramid")
class Pyramid:
    """An ensemble of small models votes; where its answers look wrong, the oracle is asked (arXiv 2602.19509).

    Every member is asked, and charged, on every query. Members and oracle are those of the checkpoint.

    Args:
        checkpoint: Name of a shipped checkpoint, or its folder.
        rule: ``threshold`` (on the calibrated probability that the majority is wrong) or ``value`` (of computation).
        threshold: For rule ``threshold``: escalate at or above it. Default: the checkpoint's, chosen on development
            queries.
        kappa: For rule ``value``: escalate above this gain in accuracy per expected cost of an oracle's answer.
            Default: the checkpoint's.
        anchored: Whether the oracle sees the ensemble's answers.
    """

    granularity: ClassVar[Granularity] = "query"
    role = "trained"

    def __init__(
        self,
        checkpoint: str,
        rule: Literal["threshold", "value"] = "threshold",
        threshold: float | None = None,
        kappa: float | None = None,
        anchored: bool = False,
    ) -> None:
        if threshold is not None and (rule != "threshold" or not 0 <= threshold <= 1):
            raise ValueError(f"threshold = {threshold}: it lies in [0, 1] and goes with rule 'threshold', not '{rule}'")
        if kappa is not None and rule != "value":
            raise ValueError(f"kappa = {kappa} goes with rule 'value', not '{rule}'")
        self._folder = checkpoint_folder(checkpoint)
        self._learned, self._trained_on = load_checkpoint(checkpoint)
        way = self._learned.anchored if anchored else self._learned.plain
        if way is None:
            raise MixrouteError(
                f"checkpoint '{checkpoint}' was trained without an anchored oracle: train with 'anchored: true' in the "
                "recipe, or leave 'anchored' out"
            )
        self._way = way
        self._rule = rule
        self._threshold = way.threshold if threshold is None else threshold
        self._kappa = way.kappa if kappa is None else kappa
        self._anchored = anchored

    def trained_on(self) -> Collection[str]:
        """See ``harness.contracts.Trained``; the queries that thresholds were chosen on are among them."""
        return self._trained_on

    def trained_with(self) -> tuple[str, Mapping[str, str]]:
        """See ``harness.contracts.TrainedWithPool``."""
        return training_pool(self._folder)

    def content_files(self) -> Mapping[str, Path]:
        """See ``harness.contracts.BuiltFromFiles``."""
        return {"checkpoint": self._folder}

    async def act(self, step: Step) -> Completion:
        """The ensemble's vote, or the oracle's answer."""
        drafts = await ask_all(step, self._learned.members)
        p_wrong = self._learned.wrong.probability(features(drafts, checked=self._learned.checked))
        if self._rule == "value":
            value = value_of_computation(p_wrong, drafts, self._way, self._learned.tokens)
            step.log(p_wrong=p_wrong, value=value, kappa=self._kappa)
            escalates = value > self._kappa
        else:
            step.log(p_wrong=p_wrong, threshold=self._threshold)
            escalates = p_wrong >= self._threshold
        if escalates:
            return await ask_oracle(step, self._learned.oracle, drafts, anchored=self._anchored)
        return drafts[majority(drafts)]


@register_router("anchored-oracle")
class AnchoredOracle:
    """The oracle on every query, with the answers of all other models in its context. All calls are charged.

    Args:
        members: Models whose answers it sees; all of the pool but the oracle if not given.
        oracle: Name of the oracle in the pool.
    """

    granularity: ClassVar[Granularity] = "query"
    role = "oracle"

    def __init__(self, members: list[str] | None = None, oracle: str = "high") -> None:
        self._members = members
        self._oracle = oracle

    async def act(self, step: Step) -> Completion:
        """Ask all members, then the oracle."""
        members = self._members or [name for name in step.models if name != self._oracle]
        return await ask_oracle(step, self._oracle, await ask_all(step, members), anchored=True)
