"""Clocks of small run folders, whose seconds can be worked out by hand.

A call takes 0.5 s of the device on ``high`` and 0.25 s on ``low``, half of it prefill; a step 1 s of wall time beside.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.records import Episode
from harness.traces.clock import SCHEMA, ClockMeta, EpisodeClock, ReferenceClock, StepClock, write_clock
from harness.traces.store import read_episodes, read_meta

SESSION = "5e55" * 4
MACHINE = {"hardware": {"cpu": "chip", "cores": 2, "threads": 1, "gpus": []}, "packages": {"torch": "1"}}


def write_clocks(
    folders: Sequence[Path],
    *,
    session: str = SESSION,
    factors: Sequence[float] = (1.0, 1.0),
    kept: Iterable[Path] | None = None,
    without: Iterable[str] = (),
) -> Sequence[Path]:
    """Write clocks of one session of runs of one section; returns the folders.

    Args:
        folders: The runs; the always-high among them is the reference.
        session: Its name.
        factors: By pass, what seconds are multiplied with.
        kept: The folders that get a clock; all if not given.
        without: Instances that are not timed.
    """
    left_out = set(without)
    lines = {
        folder: [
            line(episode, number, factor)
            for episode in read_episodes(folder)
            if episode.instance not in left_out and episode.steps
            for number, factor in enumerate(factors)
        ]
        for folder in folders
    }
    high = [folder for folder in folders if read_meta(folder).router == "always-high"]
    reference: dict[str, ReferenceClock] = {}
    for folder in high:
        for one in lines[folder]:
            before = reference.get(one.instance, ReferenceClock(len(one.steps), []))
            reference[one.instance] = ReferenceClock(before.steps, [*before.seconds, one.seconds])
    for folder in folders if kept is None else kept:
        instances = sorted({one.instance for one in lines[folder]})
        meta = ClockMeta(
            schema=SCHEMA,
            run=read_meta(folder).hash,
            session=session,
            provenance=MACHINE,
            concurrency=4,
            load=3.5,
            cpu=0.5,
            missing=0.0,
            passes=len(factors),
            seed=0,
            instances=instances,
            reference_runs=[read_meta(one).hash for one in high],
            reference={name: reference[name] for name in instances} if high else {},
        )
        write_clock(folder, meta, lines[folder])
    return folders


def line(episode: Episode, number: int, factor: float) -> EpisodeClock:
    steps = []
    for step in episode.steps:
        calls = [(one, one) for one in ({"high": 0.25, "low": 0.125}[call.model] * factor for call in step.calls)]
        steps.append(StepClock(1.0 + 2 * sum(one for one, _ in calls), calls))
    return EpisodeClock(episode.instance, number, sum(step.wall for step in steps), steps)
