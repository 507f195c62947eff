"""Token routers without training, which switch models at random or by the entropy of the small model's next token.

All write with ``low`` and hand over to ``high``. A call writes many tokens where that gives the same text as one call a
token. Each call reads the answer so far, and is charged for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mixroute import Completion, Granularity, MixrouteError, Step, register_router
from routers.relay.answer import Answer

if TYPE_CHECKING:
    from mixroute import Episode


@register_router("token-random")
class TokenRandom:
    """High writes a share of the tokens, at random positions.

    Args:
        p: Expected share of the tokens that high writes, in [0, 1).
        span: Tokens that it writes at a time.
    """

    granularity: ClassVar[Granularity] = "token"
    role = "random"

    def __init__(self, p: float = 0.1, span: int = 1) -> None:
        if not 0 <= p < 1:
            raise ValueError(f"p must lie in [0, 1), not {p}")
        self._span = _at_least_one(span)
        # Low's tokens between two spans are geometric, with mean span * (1 - p) / p.
        self._chance = p / (p + span * (1 - p))

    async def act(self, step: Step) -> Completion:
        """Low up to the next place that is drawn, then high."""
        answer = Answer(step)
        while not answer.over:
            gap = answer.left
            if self._chance > 0:
                gap = min(gap, int(math.log(1 - step.rng.random()) / math.log1p(-self._chance)))
            if gap and (await answer.write("low", gap)).finish == "stop":
                break
            if not answer.over and (await answer.write("high", self._span)).finish == "stop":
                break
        return answer.completion()


class _Thresholded:
    """A threshold on an entropy in nats, given or chosen on development episodes."""

    granularity: ClassVar[Granularity] = "token"
    role = "baseline"
    name: ClassVar[str]

    def __init__(self, target_share: float, threshold: float | None) -> None:
        if not 0 < target_share < 1:
            raise ValueError(f"target_share must lie between 0 and 1, not {target_share}")
        self._target_share = target_share
        self._threshold = threshold

    def _chosen(self, values: Sequence[float], share: float) -> Mapping[str, Any]:
        """The smallest of the values that no more than ``share`` of them exceed."""
        if self._threshold is not None:
            return {}
        if not values:
            raise MixrouteError("no development answer to choose a threshold on: give the suite's task a calibration")
        return {"threshold": float(np.quantile(values, 1 - share, method="inverted_cdf"))}

    @property
    def _limit(self) -> float:
        if self._threshold is None:
            raise MixrouteError(f"router '{self.name}' has no threshold: give one, or a calibration in the suite")
        return self._threshold


@register_router("token-entropy")
class TokenEntropy(_Thresholded):
    """High writes where low's next token is uncertain (the entropy threshold of R2R, arXiv 2505.21600).

    Low writes ahead. Its tokens before the first uncertain one are kept; the others are discarded, but charged.

    Args:
        target_share: Share of tokens that high should write; the threshold is then chosen on development episodes.
        threshold: Nats above which high takes over. Leave it out to have it chosen.
        span: Tokens that high writes at a time.
        chunk: Tokens that low writes ahead. At temperature 0 it changes the cost and not the text.
    """

    probe = "always-low"
    name = "token-entropy"

    def __init__(
        self, target_share: float = 0.1, threshold: float | None = None, span: int = 1, chunk: int = 16
    ) -> None:
        super().__init__(target_share, threshold)
        self._span, self._chunk = _at_least_one(span), _at_least_one(chunk)

    def fit(self, episodes: Iterable[Episode]) -> Mapping[str, Any]:
        """The threshold on the entropies of always-low's tokens; the more high writes at a time, the higher it is."""
        values = [
            value
            for episode in episodes
            for step in episode.steps
            for call in step.calls
            for value in call.statistics.content.entropies
        ]
        share = self._target_share
        return self._chosen(values, share / (share + self._span * (1 - share)))

    async def act(self, step: Step) -> Completion:
        """Low up to its first uncertain token, then high."""
        limit, answer, taken = self._limit, Answer(step), 0
        while not answer.over:
            ahead = await step.ask("low", continue_from=answer.text, max_tokens=min(self._chunk, answer.left))
            sure = next((n for n, entropy in enumerate(ahead.statistics.entropies) if entropy > limit), None)
            if sure is None:
                answer.add(ahead)
                if ahead.finish == "stop":
                    break
                continue
            if sure:  # asked once more for these alone: a trace holds the text of calls, not of their tokens
                await answer.write("low", sure)
            if not answer.over:
                taken += 1
                if (await answer.write("high", self._span)).finish == "stop":
                    break
        step.log(taken=taken)
        return answer.completion()


@register_router("step-entropy")
class StepEntropy(_Thresholded):
    """High writes the lines whose first token low is uncertain of (GlimpRouter's signal; a line is a reasoning step).

    Args:
        target_share: Share of lines that high should write; the threshold is then chosen on development episodes.
        threshold: Nats above which high writes the line. Leave it out to have it chosen.
    """

    probe = "low-by-line"
    name = "step-entropy"

    def __init__(self, target_share: float = 0.3, threshold: float | None = None) -> None:
        super().__init__(target_share, threshold)

    def fit(self, episodes: Iterable[Episode]) -> Mapping[str, Any]:
        """The threshold that the first tokens of the target share of low's lines exceed."""
        values = [
            value
            for episode in episodes
            for step in episode.steps
            for name, value in step.scores.items()
            if name.startswith(_LINE)
        ]
        return self._chosen(values, self._target_share)

    async def act(self, step: Step) -> Completion:
        """Line by line."""
        return await _by_line(step, self._limit)


@register_router("low-by-line")
class LowByLine:
    """Low alone, called line by line as ``step-entropy`` calls it; logs the entropies that a threshold is chosen on."""

    granularity: ClassVar[Granularity] = "token"
    role = "baseline"

    async def act(self, step: Step) -> Completion:
        """Line by line."""
        return await _by_line(step, math.inf)


_LINE = "line"


async def _by_line(step: Step, limit: float) -> Completion:
    """Low's first token of a line decides who writes it; a line ends before its newline, which its writer adds."""
    answer, lines = Answer(step), 0
    while not answer.over:
        glimpse = await step.ask("low", continue_from=answer.text, max_tokens=1)
        doubt = glimpse.statistics.first_entropy
        writer = "high" if doubt > limit else "low"
        if writer == "low":
            answer.add(glimpse)
            if glimpse.finish == "stop" or answer.over:  # the end, and no line
                break
        step.log(**{f"{_LINE}{lines}": doubt})
        lines += 1
        await answer.write(writer, answer.left, stop=("\n",))
        # A newline or the end of the answer has stopped it; the writer's next token tells which.
        if not answer.over and (await answer.write(writer, 1)).finish == "stop":
            break
    return answer.completion()


def _at_least_one(tokens: int) -> int:
    if tokens < 1:
        raise ValueError(f"span and chunk must be 1 or more, not {tokens}")
    return tokens
