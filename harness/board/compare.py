"""``mixroute compare``: two routers on the same episodes, from their traces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from harness.errors import MixrouteError
from harness.metrics import Difference, paired_difference, required_instances
from harness.metrics.comparison import Key
from harness.metrics.statistics import Estimate
from harness.speed.rates import Rates
from harness.traces.cost import SECONDS
from harness.traces.read import EpisodeNumbers, Run, read_run

GAP = 0.05
"""The difference for which the number of instances is given: five points."""

GPU_SECONDS = "gpu_seconds"


class Comparison(msgspec.Struct, frozen=True):
    """One figure of two routers, in one group of runs."""

    task: str
    split: str
    figure: str
    """``success``, ``score``, ``high_share``, or ``gpu_seconds`` (an episode), for which a speed card is needed."""
    first: float
    second: float
    difference: Difference
    instances_for_gap: int | None
    """How many instances it takes to see a difference of five points with 80% power; None where nothing varies."""


_FIGURES: dict[str, Callable[[EpisodeNumbers], float]] = {
    "success": lambda played: float(played.success),
    "score": lambda played: played.score,
    "high_share": lambda played: played.high / max(1, played.steps),
    GPU_SECONDS: lambda played: played.cost[SECONDS] or 0.0,
}


def compare_routers(folders: Iterable[Path], first: str, second: str, rates: Rates | None = None) -> list[Comparison]:
    """Compare the runs labelled ``first`` with those labelled ``second``, in every group that has both.

    Args:
        folders: Runs or entries.
        first: Label of a router, as on the board.
        second: Label of another.
        rates: Seconds of calls; without them GPU-seconds are not compared.

    Raises:
        MixrouteError: a folder cannot be read, or no group has both.
    """
    runs = [read_run(folder, rates) for folder in folders]
    found = []
    for group in sorted({run.meta.group for run in runs}):
        here = [run for run in runs if run.meta.group == group]
        ours, theirs = ([run for run in here if run.meta.label == name] for name in (first, second))
        if ours and theirs:
            found += [_compare(name, ours, theirs) for name in _FIGURES if rates or name != GPU_SECONDS]
    if not found:
        labels = sorted({run.meta.label for run in runs})
        raise MixrouteError(f"no group of runs has both '{first}' and '{second}'; there are: {', '.join(labels)}")
    return found


def _compare(figure: str, ours: Sequence[Run], theirs: Sequence[Run]) -> Comparison:
    one, two = _values(ours, figure), _values(theirs, figure)
    return Comparison(
        task=ours[0].meta.task,
        split=ours[0].meta.split,
        figure=figure,
        first=sum(one.values()) / max(1, len(one)),
        second=sum(two.values()) / max(1, len(two)),
        difference=paired_difference(one, two),
        instances_for_gap=None if figure == GPU_SECONDS else required_instances(one, two, GAP),
    )


def _values(runs: Sequence[Run], figure: str) -> dict[Key, float]:
    return {(played.instance, played.seed): _FIGURES[figure](played) for run in runs for played in run.played}


def print_comparison(found: Sequence[Comparison], first: str, second: str, console: Console) -> None:
    """Print a table a group."""
    table = Table(title=f"{first} against {second}", title_justify="left")
    for name in ("task", "figure", "first", "second", "difference [95%]", "p", "pairs", "instances for 5 points"):
        table.add_column(name, justify="left" if name in ("task", "figure") else "right")
    for one in found:
        in_seconds = one.figure == GPU_SECONDS
        table.add_row(
            f"{one.task}/{one.split}",
            one.figure.replace("_", " "),
            *(f"{value:.3f}" if in_seconds else f"{100 * value:.1f}%" for value in (one.first, one.second)),
            _shown(one.difference.difference, *((1, 3) if in_seconds else (100, 1))),
            "" if one.difference.p is None else f"{one.difference.p:.4f}",
            str(one.difference.pairs),
            "" if one.instances_for_gap is None else str(one.instances_for_gap),
        )
    console.print(table)


def _shown(estimate: Estimate, scale: float, digits: int) -> str:
    if estimate.mean is None:
        return ""
    interval = (
        ""
        if estimate.low is None or estimate.high is None
        else (f" [{scale * estimate.low:+.{digits}f}, {scale * estimate.high:+.{digits}f}]")
    )
    return f"{scale * estimate.mean:+.{digits}f}{interval}"
