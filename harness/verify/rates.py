"""Measured seconds of an entry for each token, by model: what can be compared between entries of one machine."""

from __future__ import annotations

from collections import defaultdict

from harness.records import CallRecord, Episode, EpisodeTiming

DECODED = 4
"""Prompt tokens that take about as long as one decoded token, on the CPUs that the published entries were timed on."""
SMALLEST = 0.5
"""Part of the smallest published rate below which seconds are not believed. Honest rates of one machine lie up to ten
times apart, because of the load beside them, so that no closer bound would hold."""


class TokenRates:
    """Mean seconds of a prompt token, by model; a decoded token counts as ``DECODED`` of them."""

    def __init__(self) -> None:
        self._played, self._clocked = _Sums(), _Sums()

    def add(self, episode: Episode, timing: EpisodeTiming | None, clocked: EpisodeTiming | None = None) -> None:
        """Count an episode with its measured times. What ``mixroute time`` measured counts apart: the seconds of a row
        are these, where it has any.
        """
        for measured, rate in ((timing, self._played), (clocked, self._clocked)):
            rate.add(episode, measured)

    @staticmethod
    def tokens(episode: Episode) -> int:
        """The tokens of all calls of an episode, as they are counted here."""
        return sum(_tokens(call) for step in episode.steps for call in step.calls)

    def means(self) -> dict[str, float]:
        """The mean of each model that was called, of the clock, where there is one."""
        return self._clocked.means() or self._played.means()


def _tokens(call: CallRecord) -> int:
    return call.prompt_tokens - call.cached_tokens + DECODED * call.decoded_tokens


class _Sums:
    """Seconds and tokens, by model."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._tokens: defaultdict[str, int] = defaultdict(int)

    def add(self, episode: Episode, timing: EpisodeTiming | None) -> None:
        for step, times in zip(episode.steps, timing.steps if timing else [], strict=False):
            for call, one in zip(step.calls, times.calls, strict=False):
                self._seconds[call.model] += one.prefill + one.decode
                self._tokens[call.model] += _tokens(call)

    def means(self) -> dict[str, float]:
        return {model: self._seconds[model] / count for model, count in sorted(self._tokens.items()) if count}
