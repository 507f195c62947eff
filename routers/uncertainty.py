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


def doubt_of(call: Completion | CallRecord, signal: Signal, tokens: str, router: str) -> float:
    """A signal over the tokens of a reply to be read; over the end token alone where the reply is empty.

    Args:
        call: The reply.
        signal: One of ``SIGNALS``.
        tokens: One of ``TOKENS``.
        router: Name of the router.

    Raises:
        MixrouteError: as ``part_of``.
    """
    start, end = part_of(call, tokens, router)
    whole = call.statistics
    return signal(whole.between(start, end) if start < end else whole.first(max(1, call.content_tokens)))


def signal_named(name: str) -> Signal:
    """The signal of a name.

    Raises:
        ValueError: there is none.
    """
    if name not in SIGNALS:
        raise ValueError(f"signal must be one of {', '.join(SIGNALS)}, not {name!r}")
    return SIGNALS[name]


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


def threshold_for(
    episodes: Iterable[Episode], share: float, doubt: Callable[[Completion | CallRecord], float]
) -> float:
    """The smallest threshold that no more than a share of the low model's steps exceed.

    Args:
        episodes: Development episodes of ``always-low``.
        share: The share.
        doubt: How unsure the model was in a reply.

    Raises:
        MixrouteError: there is no step.
    """
    values = sorted(
        doubt(call)
        for episode in episodes
        for step in episode.steps
        for call in ([recorded_answer(step)] if step.parts else step.calls)
        if call.model == "low"
    )
    if not values:
        raise MixrouteError("no development step to choose a threshold on: give the suite's task a calibration")
    return values[min(len(values) - 1, math.ceil((1 - share) * len(values)) - 1)]


@register_router("uncertainty")
class Uncertainty:
    """A cascade: high answers where the low model is uncertain of its own action.

    Args:
        signal: ``mean-entropy`` or ``first-token-entropy`` (nats), ``perplexity``, or ``top2-margin`` (one minus the
            smallest gap between the two likeliest tokens).
        target_share: Share of steps that should go to high; the threshold is then chosen on development episodes.
        threshold: Ask high above this value. Leave it out to have it chosen.
        tokens: Tokens that are read where the scaffold has thoughts: those of the ``action``, of the ``thought``, or
            ``all``.
    """

    granularity: ClassVar[Granularity] = "step"
    role = "baseline"
    probe = "always-low"
    added_arguments: ClassVar[tuple[str, ...]] = ("tokens",)

    def __init__(
        self,
        signal: str = "mean-entropy",
        target_share: float = 0.3,
        threshold: float | None = None,
        tokens: str = "action",
    ) -> None:
        self._tokens = check_tokens(tokens)
        self._signal = signal_named(signal)
        self._target_share = checked_share("target_share", target_share)
        self._threshold = threshold

    def fit(self, episodes: Iterable[Episode]) -> Mapping[str, Any]:
        """The threshold that ``target_share`` of the low model's development steps exceed."""
        if self._threshold is not None:
            return {}
        return {"threshold": threshold_for(episodes, self._target_share, self._doubt)}

    async def act(self, step: Step) -> Completion:
        """Low's answer where it is sure enough, else high's."""
        if self._threshold is None:
            raise MixrouteError("router 'uncertainty' has no threshold: give one, or a calibration in the suite")
        draft = await step.ask("low")
        doubt = self._doubt(draft)
        step.log(doubt=doubt, threshold=self._threshold)
        return await step.ask("high") if doubt > self._threshold else draft

    def _doubt(self, call: Completion | CallRecord) -> float:
        return doubt_of(call, self._signal, self._tokens, "uncertainty")
