"""Clocks: seconds of recorded episodes that ``mixroute time`` measured so that rows can be compared (docs/cost.md).

A timed run has two files beside its trace. ``clock.json`` says how it was measured, and what always-high took for the
same instances in the same session; ``clock.jsonl`` holds the seconds, a line for each instance and pass. Published
entries hold the lines compressed. A run without the two has no seconds that can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from math import fsum
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import msgspec

from harness.errors import MixrouteError
from harness.files import Record, write_atomically
from harness.json_files import read_json
from harness.lines import read_lines, write_xz
from harness.numbers import round_significant
from harness.records import CallTiming, Episode, EpisodeTiming, RunMeta, StepTiming
from harness.text import quoted
from harness.traces.store import EPISODES, plain_or_xz, read_bytes, read_meta, read_timed

CLOCK = "clock.json"
LINES = "clock.jsonl"
SCHEMA = 1
_FIX = "time the run again with `mixroute time`, or delete clock.json and clock.jsonl to do without seconds"

Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
_Positive = Annotated[int, msgspec.Meta(ge=1, le=1 << 30)]


class StepClock(Record, frozen=True, array_like=True):
    """Seconds of one step: wall time from its first question to its last answer, and device time of each call."""

    wall: Seconds
    calls: list[tuple[Seconds, Seconds]]
    """Prefill and decode of each call: its share of the device time of the batches that it ran in."""


class EpisodeClock(Record, frozen=True, rename={"number": "pass"}):
    """One replay of an episode."""

    instance: str
    number: int
    """Which pass over the instances, from 0."""
    wall: Seconds
    """From the first question to the last answer; no environment and no router runs between."""
    steps: list[StepClock]

    @property
    def seconds(self) -> float:
        """Device time of all calls."""
        return fsum(part for step in self.steps for call in step.calls for part in call)

    def rounded(self) -> EpisodeClock:
        """With seconds of 5 significant digits."""
        steps = [
            StepClock(
                round_significant(step.wall),
                [(round_significant(prefill), round_significant(decode)) for prefill, decode in step.calls],
            )
            for step in self.steps
        ]
        return EpisodeClock(self.instance, self.number, round_significant(self.wall), steps)


class ReferenceClock(Record, frozen=True, array_like=True):
    """What always-high took on one instance in the session of a clock."""

    steps: _Positive
    seconds: list[Annotated[float, msgspec.Meta(gt=0, le=1e9)]]
    """Device time, by pass."""


class ClockMeta(Record, frozen=True):
    """The content of ``clock.json``."""

    schema: int
    run: str
    """Hash of the run whose calls were replayed."""
    session: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]
    """Names the measurement: rows of one session were interleaved and may be compared in seconds, others by their
    ratio to the reference."""
    provenance: dict[str, Any]
    """Machine, threads and versions that the models ran on; see ``harness.provenance``."""
    concurrency: _Positive
    """Episodes that were replayed at once, at most."""
    load: Seconds
    """Episodes that were in flight, on the average over the row's blocks."""
    cpu: Seconds
    """CPU seconds that the process had in a second of the row's blocks: about the number of threads on an idle machine
    that computes on its CPU; less where other work ran."""
    missing: Annotated[float, msgspec.Meta(ge=0, le=1)]
    """Share of the recorded tokens that were not decoded again, as answers ended earlier; 0 in deterministic mode."""
    passes: _Positive
    seed: int
    """What the instances, blocks and the order of rows were drawn from."""
    instances: list[str]
    """Instances that were replayed in this run. Where a row has several seeds, each instance is replayed in one."""
    reference_runs: list[str]
    """Hashes of the runs of always-high that were replayed beside it; empty where there was none."""
    reference: dict[str, ReferenceClock]
    """By instance."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The clock of a run: how it was measured, and the lines of each instance in order of pass."""

    meta: ClockMeta
    lines: dict[str, list[EpisodeClock]]

    def check_shape(self, episode: Episode, where: Path) -> None:
        """Check that a timed episode has the steps and calls of the trace.

        Raises:
            MixrouteError: it has others.
        """
        shape = [len(step.calls) for step in episode.steps]
        for line in self.lines.get(episode.instance, ()):
            if [len(step.calls) for step in line.steps] != shape:
                raise MixrouteError(
                    f"{where / LINES}: instance {quoted(episode.instance)} has other steps or calls than {EPISODES}: "
                    f"{_FIX}"
                )

    def mean_timing(self, episode: Episode) -> EpisodeTiming | None:
        """The device time of each call, the mean over the passes; None where the episode was not timed."""
        lines = self.lines.get(episode.instance)
        if lines is None:
            return None
        steps = [
            StepTiming(
                0.0,
                0.0,
                [
                    CallTiming(0.0, fmean(one[0] for one in passes), fmean(one[1] for one in passes), 0.0)
                    for passes in zip(*(step.calls for step in several), strict=True)
                ],
            )
            for several in zip(*(line.steps for line in lines), strict=True)
        ]
        return EpisodeTiming(episode.instance, episode.seed, 0.0, steps)


def read_clock(folder: Path, run: RunMeta | None = None) -> Clock | None:
    """The clock of a run or entry folder; None where it was not timed.

    Args:
        folder: The folder.
        run: Its ``run.json``, if that was read already.

    Raises:
        MixrouteError: a file is missing or damaged, or they are not of this run.
    """
    path, lines_path = folder / CLOCK, plain_or_xz(folder / LINES)
    if not path.exists():  # it is written last
        return None
    meta: ClockMeta = read_json(path, ClockMeta, _FIX)
    if meta.schema != SCHEMA:
        raise MixrouteError(f"{path} has schema {meta.schema}, not {SCHEMA}: {_FIX}")
    run = run or read_meta(folder)
    if meta.run != run.hash:
        raise MixrouteError(f"{path} is of another run (its hash differs): {_FIX}")
    if strangers := set(meta.instances) - set(run.instances):
        raise MixrouteError(f"{path} times instance {quoted(min(strangers))}, which the run has not: {_FIX}")
    if meta.reference and set(meta.reference) != set(meta.instances):
        raise MixrouteError(f"{path} has the reference of other instances than its own: {_FIX}")
    if any(len(one.seconds) != meta.passes for one in meta.reference.values()):
        raise MixrouteError(f"{path}: the reference has not {meta.passes} passes: {_FIX}")
    found: dict[str, list[EpisodeClock]] = {instance: [] for instance in meta.instances}
    for line in read_lines(lines_path, EpisodeClock):
        if line.instance not in found or line.number != len(found[line.instance]) or line.number >= meta.passes:
            raise MixrouteError(
                f"{lines_path} has instance {quoted(line.instance)}, pass {line.number}, out of place: {_FIX}"
            )
        if line.seconds <= 0 or line.wall <= 0:
            raise MixrouteError(f"{lines_path}: instance {quoted(line.instance)} takes no time: {_FIX}")
        found[line.instance].append(line)
    for instance, lines in found.items():
        if len(lines) != meta.passes:
            raise MixrouteError(f"{lines_path} has {len(lines)} of {meta.passes} passes of {quoted(instance)}: {_FIX}")
    if len(found) != len(meta.instances) or not found:
        raise MixrouteError(f"{path} names an instance twice, or none: {_FIX}")
    return Clock(meta, found)


def write_clock(folder: Path, meta: ClockMeta, lines: Iterable[EpisodeClock]) -> None:
    """Write the two files of a run, or of an entry, in order of instance and pass; ``clock.json`` comes last."""
    remove_clock(folder)
    ordered = sorted(lines, key=lambda line: (line.instance, line.number))
    content = b"".join(msgspec.json.encode(line.rounded()) + b"\n" for line in ordered)
    if plain_or_xz(folder / EPISODES).suffix == ".xz":
        write_xz(folder / f"{LINES}.xz", BytesIO(content))
    else:
        write_atomically(folder / LINES, content)
    write_atomically(folder / CLOCK, msgspec.json.format(msgspec.json.encode(meta), indent=1) + b"\n")


def remove_clock(folder: Path) -> None:
    """Delete the clock of a run or entry, if it has one."""
    for name in (CLOCK, LINES, f"{LINES}.xz"):
        (folder / name).unlink(missing_ok=True)


def read_clocked(folder: Path) -> Iterator[tuple[Episode, EpisodeTiming | None, EpisodeTiming | None]]:
    """The episodes of a run, each with the times at which it was played, and with those of its clock, if it has them.

    Raises:
        MixrouteError: the folder cannot be read.
    """
    clock = read_clock(folder)
    for episode, timing in read_timed(folder):
        if clock is not None:
            clock.check_shape(episode, folder)
        yield episode, timing, None if clock is None else clock.mean_timing(episode)


def timed_on(folder: Path, run: RunMeta) -> dict[str, Any]:
    """The provenance of what the seconds of a run were measured on: of its clock, if it has one; else its own.

    Raises:
        MixrouteError: the clock is damaged.
    """
    clock = read_clock(folder, run)
    return run.provenance if clock is None else clock.meta.provenance


def clock_bytes(folder: Path) -> bytes:
    """The content of both files of a clock, for hashes; nothing where there is none.

    Raises:
        MixrouteError: one is missing or damaged.
    """
    if not (folder / CLOCK).exists():
        return b""
    return read_bytes(folder / CLOCK) + read_bytes(plain_or_xz(folder / LINES))
