"""Ask low first; where it is unsure of its own action, ask high (a two-step cascade, as in ReDAct, arXiv 2604.07036).

Uncertainty is measured on the action's tokens, or on those of the thought or of both. Low is charged at every step,
high where it is asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from harness.token_statistics import TokenStatistics
from harness.traces.recording import recorded_answer
from mixroute import Completion, Granularity, MixrouteError, Step, register_router

if TYPE_CHECKING:
    from harness.records import CallRecord
    from mixroute import Episode

Signal = Callable[[TokenStatistics], float]
"""From the statistics of the action's tokens to a number that is larger where the model is less sure."""

SIGNALS: dict[str, Signal] = {
    "mean-entropy": lambda statistics: statistics.mean_entropy,
    "perplexity": lambda statistics: statistics.perplexity,
    "first-token-entropy": lambda statistics: statistics.first_entropy,
    "top2-margin": lambda statistics: 1 - statistics.min_margin,
}


TOKENS = ("action", "thought", "all")


def check_tokens(tokens: str) -> str:
    """``tokens`` itself.

    Raises:
        ValueError: it is none of ``TOKENS``.
    """
    if tokens not in TOKENS:
        raise ValueError(f"tokens must be one of {', '.join(TOKENS)}, not {tokens!r}")
    return tokens


def part_of(call: Completion | CallRecord, tokens: str, router: str) -> tuple[int, int]:
    """Start and end of the tokens that a router looks at; equal where it looks at all of them, as it does at a reply
    without an action, or without a thought.

    Args:
        call: A reply, or a call that read one.
        tokens: One of ``TOKENS``.
        router: Name of the router.

    Raises:
        MixrouteError: replies have no thoughts, or it is not known where they are.
    """
    part = call.thought_tokens if tokens == "thought" else call.action_tokens
    if not part and tokens == "thought":
        raise MixrouteError(
            f"router '{router}' is to read thoughts (tokens: thought): use a scaffold that has them, such as think, "
            "and a backend that gives statistics of tokens"
        )
    start, end = part if part and tokens != "all" else (0, 0)
    return start, end


def checked_share(name: str, share: float) -> float:
    """``share`` itself.

    Args:
        name: Name of the argument.
        share: Its value.

    Raises:
        ValueError: it does not lie between 0 and 1.
    """
    if not 0 < share < 1:
        raise ValueError(f"{name} must lie between 0 and 1, not {share}")
    return share


class ByDoubt:
    """What routers share that compare a signal of a reply with a threshold, given or chosen.

    Args:
        signal: One of ``SIGNALS``.
        target_share: Share of the low model's development steps above the threshold that is then chosen.
        threshold: Uncertainty that is too much; None to have it chosen.
        tokens: One of ``TOKENS``.
    """

    granularity: ClassVar[Granularity] = "step"
    role = "baseline"
    probe = "always-low"
    name: ClassVar[str]

    def __init__(
        self,
        signal: str = "mean-entropy",
        target_share: float = 0.3,
        threshold: float | None = None,
        tokens: str = "action",
    ) -> None:
        self._tokens = check_tokens(tokens)
        if signal not in SIGNALS:
            raise ValueError(f"signal must be one of {', '.join(SIGNALS)}, not {signal!r}")
        self._signal = SIGNALS[signal]
        self._target_share = checked_share("target_share", target_share)
        self._threshold = threshold

    def fit(self, episodes: Iterable[Episode]) -> Mapping[str, Any]:
        """The threshold that ``target_share`` of the low model's development steps exceed."""
        if self._threshold is not None:
            return {}
        values = sorted(
            self._doubt(call)
            for episode in episodes
            for step in episode.steps
            for call in ([recorded_answer(step)] if step.parts else step.calls)
            if call.model == "low"
        )
        if not values:
            raise MixrouteError("no development step to choose a threshold on: give the suite's task a calibration")
        # The smallest value with no more than the target share above it.
        return {"threshold": values[min(len(values) - 1, math.ceil((1 - self._target_share) * len(values)) - 1)]}

    def _chosen_threshold(self) -> float:
        """The threshold.

        Raises:
            MixrouteError: none was given or chosen.
        """
        if self._threshold is None:
            raise MixrouteError(f"router '{self.name}' has no threshold: give one, or a calibration in the suite")
        return self._threshold

    def _doubt(self, call: Completion | CallRecord) -> float:
        """The signal over the tokens to be read; over the end token alone where the reply is empty."""
        start, end = part_of(call, self._tokens, self.name)
        whole = call.statistics
        return self._signal(whole.between(start, end) if start < end else whole.first(max(1, call.content_tokens)))


@register_router("uncertainty")
class Uncertainty(ByDoubt):
    """A cascade: high answers where the low model is uncertain of its own action.

    Args:
        signal: ``mean-entropy`` or ``first-token-entropy`` (nats), ``perplexity``, or ``top2-margin`` (one minus the
            smallest gap between the two likeliest tokens).
        target_share: Share of steps that should go to high; the threshold is then chosen on development episodes.
        threshold: Ask high above this value. Leave it out to have it chosen.
        tokens: Tokens that are read where the scaffold has thoughts: those of the ``action``, of the ``thought``, or
            ``all``.
    """

    name = "uncertainty"
    added_arguments: ClassVar[tuple[str, ...]] = ("tokens",)

    async def act(self, step: Step) -> Completion:
        """Low's answer where it is sure enough, else high's."""
        threshold = self._chosen_threshold()
        draft = await step.ask("low")
        doubt = self._doubt(draft)
        step.log(doubt=doubt, threshold=threshold)
        return await step.ask("high") if doubt > threshold else draft
