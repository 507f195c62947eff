"""Seconds and latency of a row, from what ``mixroute time`` measured. Specification: docs/cost.md, Seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import fsum
from statistics import fmean, median

import msgspec
from rich.box import SIMPLE_HEAD
from rich.table import Table

from harness.metrics import percentile
from harness.provenance import hardware_of
from harness.terminal import line
from harness.traces.clock import ClockMeta
from harness.traces.read import EpisodeNumbers, Run

REPEATABLE = 0.05
"""By how much the seconds of a row may differ between passes; on an idle machine they differ by less."""
NO_CLOCK = "no seconds: `mixroute time` measures them so that rows can be compared"
TWO_SESSIONS = "no seconds: its runs were timed in several sessions: give `mixroute time --only` with its label"


class Percentiles(msgspec.Struct, frozen=True):
    """Percentiles of wall seconds."""

    n: int
    """How many were measured."""
    p50: float
    p95: float
    p99: float


class RowClock(msgspec.Struct, frozen=True):
    """What was measured of a row, and how. Lists run over the passes."""

    session: str
    """Rows of one session were interleaved on one machine, and may be compared in seconds."""
    machine: str
    concurrency: int
    """Episodes that were replayed at once, at most."""
    load: float
    """Episodes that were in flight, on the average."""
    cpu: float
    """CPU seconds that the process had in a second: on an idle machine, about the number of threads."""
    instances: int
    episode_seconds: list[float]
    """Device seconds an episode."""
    episode_relative: list[float] | None
    """Device seconds over those of always-high on the same instances in the same session."""
    step_seconds: float
    """Device seconds a step, over all passes."""
    step_relative: float | None
    """Device seconds a step over those of always-high."""
    spread: float
    """By how much device seconds differ between passes: largest less smallest, over their mean."""
    relative_spread: float | None
    """The same of the ratios to always-high."""
    step: Percentiles
    """Wall seconds of a step, of all passes."""
    episode: Percentiles
    """Wall seconds of an episode, of all passes."""
    router_included: bool
    """Whether wall seconds include the router's own code, as long as it took when the run was played."""


class RowSeconds(msgspec.Struct, frozen=True):
    """The seconds of a row and what limits them."""

    clock: RowClock | None = None
    seconds: float | None = None
    """Device seconds an episode, over all passes."""
    relative: float | None = None
    """Device seconds over those of always-high, over all passes."""
    by_episode: Mapping[tuple[str, int], float] = {}
    """Device seconds of each timed episode, by instance and seed: the mean over the passes."""
    reference: float | None = None
    """Mean device seconds of an episode of always-high; None where none was timed beside it."""
    notes: tuple[str, ...] = ()


def row_seconds(runs: Sequence[Run]) -> RowSeconds:
    """The seconds of a row.

    Args:
        runs: Its runs, over all seeds.
    """
    clocks = [run.clock for run in runs if run.clock]
    if not clocks:
        return RowSeconds(notes=(NO_CLOCK,))
    first = clocks[0]
    if len({(one.session, one.passes, one.concurrency) for one in clocks}) > 1:
        return RowSeconds(notes=(TWO_SESSIONS,))
    played = [one for run in runs for one in run.played if one.timed]
    passes = range(first.passes)
    own = [fsum(one.timed.lines[number].seconds for one in played if one.timed) for number in passes]
    steps = sum(one.steps for one in played)
    reference = _reference(clocks) if all(one.reference for one in clocks) else None
    seconds = fsum(own) / first.passes / len(played)
    relative = None if reference is None else fsum(own) / fsum(reference[0])
    by_pass = None if reference is None else [mine / theirs for mine, theirs in zip(own, reference[0], strict=True)]
    notes = []
    if missing := max(one.missing for one in clocks):
        notes.append(f"seconds: {missing:.2%} of its recorded tokens were not computed again, as answers ended earlier")
    if reference is None:
        notes.append("seconds are relative to nothing: no always-high was timed beside it")
    clock = RowClock(
        session=first.session,
        machine=hardware_of(first.provenance),
        concurrency=first.concurrency,
        load=first.load,
        cpu=first.cpu,
        instances=len(played),
        episode_seconds=[total / len(played) for total in own],
        episode_relative=by_pass,
        step_seconds=fsum(own) / first.passes / steps,
        step_relative=None if reference is None or relative is None else relative * reference[1] / steps,
        spread=_spread(own),
        relative_spread=None if by_pass is None else _spread(by_pass),
        step=_percentiles(wall for one in played for wall in step_walls(one)),
        episode=_percentiles(wall for one in played for wall in episode_walls(one)),
        router_included=all(one.timed.router is not None for one in played if one.timed),
    )
    by_episode = {
        (one.instance, one.seed): fmean(line.seconds for line in one.timed.lines) for one in played if one.timed
    }
    base = None if reference is None else fsum(reference[0]) / first.passes / len(played)
    return RowSeconds(clock, seconds, relative, by_episode, base, tuple(notes))


def step_walls(played: EpisodeNumbers) -> list[float]:
    """Wall seconds of each step of an episode, of all passes; with the router's own code, where that was recorded."""
    if played.timed is None:
        return []
    router = played.timed.router or (0.0,) * played.steps
    return [step.wall + own for one in played.timed.lines for step, own in zip(one.steps, router, strict=True)]


def episode_walls(played: EpisodeNumbers) -> list[float]:
    """Wall seconds of an episode, by pass; with the router's own code, where that was recorded."""
    if played.timed is None:
        return []
    return [one.wall + fsum(played.timed.router or ()) for one in played.timed.lines]


def session_note(rows: Iterable[RowSeconds]) -> str | None:
    """How the seconds of a section were measured, and how far they repeat; None where none were.

    Args:
        rows: All rows of the section.
    """
    clocks = [row.clock for row in rows if row.clock]
    if not clocks:
        return None
    how = sorted(
        {
            f"{one.machine}, {one.concurrency} episodes at once, {len(one.episode_seconds)} passes (session "
            f"{one.session[:8]})"
            for one in clocks
        }
    )
    text = f"seconds and latency are those of `mixroute time`: {'; '.join(how)}"
    repeated = [one for one in clocks if len(one.episode_seconds) > 1]
    if repeated:
        text += f"; from pass to pass the seconds of a row differ by {_shown(one.spread for one in repeated)}"
        if relative := [one.relative_spread for one in repeated if one.relative_spread]:
            text += f", relative to always-high by {_shown(relative)}"
        if median(one.spread for one in repeated) > REPEATABLE:
            least = min(one.cpu for one in clocks)
            text += (
                f"; an idle machine keeps to {REPEATABLE:.0%}, here the process had as little as {least:.2f} CPU "
                "seconds a second: time them again on one"
            )
    if len({one.session for one in clocks}) > 1:
        text += "; rows of several sessions are compared by their ratio to the always-high of each"
    return text


def clocks_table(rows: Iterable[tuple[str, RowClock, float | None]], title: str) -> Table:
    """What ``mixroute time`` prints of a section.

    Args:
        rows: Label, clock and relative seconds of each row.
        title: Of the table.
    """
    table = Table(title=line(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("router", overflow="fold")
    for name, _ in _SHOWN:
        table.add_column(name, justify="right")
    table.add_column("relative", justify="right")
    for label, clock, relative in rows:
        shown = "-" if relative is None else f"{relative:.3f}"
        table.add_row(line(label), *(cell(clock) for _, cell in _SHOWN), shown)
    return table


_SHOWN: tuple[tuple[str, Callable[[RowClock], str]], ...] = (
    ("s/step", lambda clock: f"{clock.step_seconds:.3f}"),
    ("spread", lambda clock: f"{clock.spread:.1%}"),
    ("step p50", lambda clock: f"{clock.step.p50:.2f}"),
    ("p95", lambda clock: f"{clock.step.p95:.2f}"),
    ("p99", lambda clock: f"{clock.step.p99:.2f}"),
    ("episode p50", lambda clock: f"{clock.episode.p50:.1f}"),
)


def _reference(clocks: Iterable[ClockMeta]) -> tuple[list[float], int]:
    """Device seconds of always-high by pass, and its steps, over the instances of all runs."""
    every = [one for clock in clocks for one in clock.reference.values()]
    return [fsum(several) for several in zip(*(one.seconds for one in every), strict=True)], sum(
        one.steps for one in every
    )


def _spread(values: Sequence[float]) -> float:
    return (max(values) - min(values)) / fmean(values)


def _percentiles(values: Iterable[float]) -> Percentiles:
    known = list(values)
    return Percentiles(len(known), *(percentile(known, share) for share in (0.5, 0.95, 0.99)))


def _shown(spreads: Iterable[float]) -> str:
    known = list(spreads)
    return f"{median(known):.1%} (median; at most {max(known):.1%})"
