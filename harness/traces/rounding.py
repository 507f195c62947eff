"""Rounding of measured seconds, and of traces of versions before 0.2, to 5 significant digits."""

from __future__ import annotations

from msgspec.structs import replace

from harness.numbers import round_significant
from harness.records import CallRecord, CallTiming, Episode, EpisodeTiming, StepTiming


def rounded_episode(episode: Episode) -> Episode:
    """The episode with statistics of tokens of 5 significant digits."""
    return replace(
        episode,
        steps=[replace(step, calls=[_rounded_call(call) for call in step.calls]) for step in episode.steps],
    )


def _rounded_call(call: CallRecord) -> CallRecord:
    return replace(
        call,
        logprobs=[round_significant(value) for value in call.logprobs],
        entropies=[round_significant(value) for value in call.entropies],
        margins=[round_significant(value) for value in call.margins],
    )


def rounded_timing(timing: EpisodeTiming) -> EpisodeTiming:
    """The timing with seconds of 5 significant digits."""
    return EpisodeTiming(
        timing.instance, timing.seed, round_significant(timing.reset), [rounded_step(step) for step in timing.steps]
    )


def rounded_step(step: StepTiming) -> StepTiming:
    """The timing of a step with seconds of 5 significant digits."""
    return StepTiming(
        round_significant(step.environment),
        round_significant(step.router),
        [_rounded_call_timing(call) for call in step.calls],
    )


def _rounded_call_timing(call: CallTiming) -> CallTiming:
    return CallTiming(
        round_significant(call.queue),
        round_significant(call.prefill),
        round_significant(call.decode),
        round_significant(call.latency),
        reused=call.reused,
    )
