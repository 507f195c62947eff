"""Ask low first; where it is unsure of its own action, ask high (a two-step cascade, as in ReDAct, arXiv 2604.07036).

Uncertainty is read off the action's tokens. Low is charged at every step, high where it is asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, ClassVar

from harness import Completion, MixrouteError, Step, register_router
from harness.contracts import Granularity

if TYPE_CHECKING:
    from harness.records import Episode

# Each takes the log-probabilities, entropies and margins of the action's tokens; larger means less sure.
Signal = Callable[[Sequence[float], Sequence[float], Sequence[float]], float]

SIGNALS: dict[str, Signal] = {
    "mean-entropy": lambda logprobs, entropies, margins: fmean(entropies),
    "perplexity": lambda logprobs, entropies, margins: math.exp(-fmean(logprobs)),
    "first-token-entropy": lambda logprobs, entropies, margins: entropies[0],
    "top2-margin": lambda logprobs, entropies, margins: 1 - min(margins),
}


@register_router("uncertainty")
class Uncertainty:
    """A cascade on the low model's uncertainty about its own action.

    Args:
        signal: ``mean-entropy`` or ``first-token-entropy`` (nats), ``perplexity``, or ``top2-margin`` (one minus the
            smallest gap between the two likeliest tokens).
        target_share: Share of steps that should go to high; the threshold is then chosen on development episodes.
        threshold: Ask high above this value. Leave it out to have it chosen.
    """

    granularity: ClassVar[Granularity] = "step"
    role = "baseline"
    probe = "always-low"

    def __init__(self, signal: str = "mean-entropy", target_share: float = 0.3, threshold: float | None = None) -> None:
        if signal not in SIGNALS:
            raise ValueError(f"signal must be one of {', '.join(SIGNALS)}, not {signal!r}")
        if not 0 < target_share < 1:
            raise ValueError(f"target_share must lie between 0 and 1, not {target_share}")
        self._signal = SIGNALS[signal]
        self._target_share = target_share
        self._threshold = threshold

    def fit(self, episodes: Iterable[Episode]) -> Mapping[str, Any]:
        """The threshold that ``target_share`` of the low model's development steps exceed."""
        if self._threshold is not None:
            return {}
        values = sorted(
            self._uncertainty(call.logprobs, call.entropies, call.margins, call.content_tokens)
            for episode in episodes
            for step in episode.steps
            for call in step.calls
            if call.model == "low"
        )
        if not values:
            raise MixrouteError("no development step to choose a threshold on: give the suite's task a calibration")
        # The smallest value with no more than the target share above it.
        return {"threshold": values[min(len(values) - 1, math.ceil((1 - self._target_share) * len(values)) - 1)]}

    async def act(self, step: Step) -> Completion:
        """Low's answer where it is sure enough, else high's."""
        if self._threshold is None:
            raise MixrouteError("router 'uncertainty' has no threshold: give one, or a calibration in the suite")
        draft = await step.ask("low")
        tokens = draft.tokens
        doubt = self._uncertainty(
            [token.logprob for token in tokens],
            [token.entropy for token in tokens],
            [token.margin for token in tokens],
            draft.content_tokens,
        )
        step.log(doubt=doubt, threshold=self._threshold)
        return await step.ask("high") if doubt > self._threshold else draft

    def _uncertainty(
        self, logprobs: Sequence[float], entropies: Sequence[float], margins: Sequence[float], content_tokens: int
    ) -> float:
        """The signal over the action's tokens; over the end token alone where the action is empty."""
        count = max(1, content_tokens)
        return self._signal(logprobs[:count], entropies[:count], margins[:count])
