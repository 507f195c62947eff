"""Measured seconds of an entry for each token, by model: what can be compared between entries of one machine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from harness.records import Episode, EpisodeTiming

DECODED = 4
"""Prompt tokens that take about as long as one decoded token, on the CPUs that the published entries were timed on."""
SMALLEST = 0.5
"""Part of the smallest published rate below which seconds are not believed. Honest rates of one machine lie up to ten
times apart, because of the load beside them, so that no closer bound would hold."""


def hardware_of(provenance: Mapping[str, Any]) -> str:
    """The machine on which a run was timed, as the lock file names it."""
    machine = provenance.get("hardware")
    facts = machine if isinstance(machine, Mapping) else {}
    gpus = facts.get("gpus")
    devices = gpus if isinstance(gpus, list) and gpus else [facts.get("cpu")]
    return f"{', '.join(map(str, devices))}, {facts.get('cores')} cores, {facts.get('threads')} threads"


def rates_of(timed: Iterable[tuple[Episode, EpisodeTiming | None]]) -> dict[str, float]:
    """Mean seconds of a prompt token, by model; a decoded token counts as ``DECODED`` of them.

    Args:
        timed: Episodes with their measured times.
    """
    seconds: defaultdict[str, float] = defaultdict(float)
    tokens: defaultdict[str, int] = defaultdict(int)
    for episode, timing in timed:
        for step, times in zip(episode.steps, timing.steps if timing else [], strict=False):
            for call, one in zip(step.calls, times.calls, strict=False):
                seconds[call.model] += one.prefill + one.decode
                tokens[call.model] += call.prompt_tokens - call.cached_tokens + DECODED * call.decoded_tokens
    return {model: seconds[model] / count for model, count in sorted(tokens.items()) if count}
