"""Rounding of what traces hold by the thousand, to 5 significant digits: more are noise, and do not compress."""

from __future__ import annotations

from msgspec.structs import replace

from harness.records import CallRecord, CallTiming, Episode, EpisodeTiming, StepTiming


def _round(value: float) -> float:
    return float(f"{value:.5g}")


def rounded_episode(episode: Episode) -> Episode:
    """The episode with statistics of tokens of 5 significant digits."""
    return replace(
        episode,
        steps=[replace(step, calls=[_rounded_call(call) for call in step.calls]) for step in episode.steps],
    )


def _rounded_call(call: CallRecord) -> CallRecord:
    return replace(
        call,
        logprobs=[_round(value) for value in call.logprobs],
        entropies=[_round(value) for value in call.entropies],
        margins=[_round(value) for value in call.margins],
    )


def rounded_timing(timing: EpisodeTiming) -> EpisodeTiming:
    """The timing with seconds of 5 significant digits."""
    return EpisodeTiming(
        timing.instance, timing.seed, _round(timing.reset), [_rounded_step(step) for step in timing.steps]
    )


def _rounded_step(step: StepTiming) -> StepTiming:
    return StepTiming(
        _round(step.environment), _round(step.router), [_rounded_call_timing(call) for call in step.calls]
    )


def _rounded_call_timing(call: CallTiming) -> CallTiming:
    return CallTiming(
        _round(call.queue), _round(call.prefill), _round(call.decode), _round(call.latency), reused=call.reused
    )
