"""``mixroute compare``: two routers on the same episodes, from their traces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from harness.board.compared_figures import RELATIVE, ComparedFigure, figures_of
from harness.board.costs import charge_errors
from harness.board.runs import RunsAcrossSeeds, router_key, runs_by_router
from harness.board.section import references_of
from harness.errors import MixrouteError
from harness.metrics import Difference, paired_difference, required_instances
from harness.metrics.statistics import Estimate
from harness.speed.rates import Rates
from harness.terminal import line
from harness.text import cut, quoted
from harness.traces.read import read_run

GAP = 0.05
"""The difference for which the number of instances is given: five points."""


class Comparison(msgspec.Struct, frozen=True):
    """One figure of two routers, in one group of runs."""

    task: str
    split: str
    figure: str
    """``success``, ``score``, ``high_share`` (the board's: high steps over all steps), and costs of an episode by name
    (``weight_bytes``, ``flops``), where they are known; with a speed card ``gpu_seconds`` of an episode. Without one,
    where ``mixroute time`` has measured both in one session: device ``seconds`` and ``episode_wall`` of an episode, and
    ``step_wall``; of two sessions ``relative_seconds``, over the mean of always-high in the session of each."""
    unit: str
    """Unit of the figure; empty for shares of 1. Costs are multiples of always-high's mean where the group has one."""
    limits: tuple[int | None, int | None]
    """Sizes of the samples of instances that the two have played, None for all; compared is what both have."""
    first: float
    second: float
    difference: Difference
    instances_for_gap: int | None
    """How many instances it takes to see a difference of five points with 80% power; None where nothing varies."""


_LONGEST_LABEL = 80  # characters of a label that a message lists


def compare_routers(folders: Iterable[Path], first: str, second: str, rates: Rates | None = None) -> list[Comparison]:
    """Compare the router labelled ``first`` with the one labelled ``second``, in every group that has both.

    Args:
        folders: Runs or entries.
        first: Label of a router, as on the board. Where several routers or configurations have it, ``LABEL@PREFIX``
            names the one whose router, or whose run's hash, begins with PREFIX. Runs of the two with different limits
            are compared only where none have the same.
        second: Another, likewise.
        rates: Seconds of calls; without them GPU-seconds are not compared.

    Raises:
        MixrouteError: a folder cannot be read, a group has several routers of a label, or no group has both.
    """
    runs = [read_run(folder, rates) for folder in folders]
    found = []
    for group in sorted({run.meta.group for run in runs}):
        rows = runs_by_router([run for run in runs if run.meta.group == group])
        reference = [played for row in reversed(references_of(rows)) for played in row.played]
        rows = [replace(row, played=charge_errors(row.played, reference)) for row in rows]
        for ours, theirs in _pairs(_named(rows, first), _named(rows, second)):
            figures = figures_of(ours, theirs, reference, by_card=rates is not None)
            found += [_compared(figure, ours, theirs) for figure in figures]
    if not found:
        labels = sorted({cut(run.meta.label, _LONGEST_LABEL) for run in runs})
        raise MixrouteError(
            f"no group of runs has both {quoted(first)} and {quoted(second)}; there are: {', '.join(labels)}"
        )
    return found


def _pairs(
    ours: Sequence[RunsAcrossSeeds], theirs: Sequence[RunsAcrossSeeds]
) -> list[tuple[RunsAcrossSeeds, RunsAcrossSeeds]]:
    """Rows of two routers with the same limit; where there are none, the largest of each."""
    same = [(one, two) for one in ours for two in theirs if one.meta.limit == two.meta.limit]
    if same or not (ours and theirs):
        return same
    return [(max(ours, key=lambda row: row.planned), max(theirs, key=lambda row: row.planned))]


def _named(rows: Sequence[RunsAcrossSeeds], name: str) -> list[RunsAcrossSeeds]:
    """The rows of a group that ``name`` names, which differ in nothing but the limit."""
    found = [row for row in rows if row.meta.label == name]
    if not found:
        label, _, prefix = name.rpartition("@")
        found = [row for row in rows if row.meta.label == label and prefix and _begins(row, prefix)]
    different = {router_key(row.meta, ("seed", "limit")): row.meta for row in found}
    if len(different) <= 1:
        return found
    meta = found[0].meta
    choices = [
        f"'{one.label}@{one.hash[:8]}' is {one.router} with {one.config.get('router_args')}"
        for one in different.values()
    ]
    raise MixrouteError(
        f"{len(different)} routers or configurations on {meta.task}/{meta.split} are labelled {quoted(meta.label)}: "
        f"choose one by LABEL@ROUTER or LABEL@HASH; {'; '.join(choices)}"
    )


def _begins(row: RunsAcrossSeeds, prefix: str) -> bool:
    return row.meta.router.startswith(prefix) or any(run.meta.hash.startswith(prefix) for run in row.runs)


def _compared(figure: ComparedFigure, ours: RunsAcrossSeeds, theirs: RunsAcrossSeeds) -> Comparison:
    return Comparison(
        task=ours.meta.task,
        split=ours.meta.split,
        figure=figure.name,
        unit=figure.unit,
        limits=(ours.meta.limit, theirs.meta.limit),
        first=sum(figure.first.values()) / max(1, len(figure.first)),
        second=sum(figure.second.values()) / max(1, len(figure.second)),
        difference=paired_difference(figure.first, figure.second),
        instances_for_gap=None if figure.unit else required_instances(figure.first, figure.second, GAP),
    )


_UNITS = {"": "%", RELATIVE: "rel."}


def print_comparison(found: Sequence[Comparison], first: str, second: str, console: Console) -> None:
    """Print a table a task and limit, at most 80 columns wide."""
    console.print(line(f"{first} (first) against {second} (second)"))
    for (task, split, limits), group in groupby(found, key=lambda one: (one.task, one.split, one.limits)):
        table = Table(title=line(f"{task}/{split}{_limit(limits)}"), title_justify="left", box=SIMPLE_HEAD, padding=0)
        for name in ("figure", "first", "second", "difference [95%]", "p", "pairs", "games for 5 points"):
            table.add_column(
                name, justify="left" if name == "figure" else "right", max_width=10 if "games" in name else None
            )
        for one in group:
            scale, digits = (1, 2) if one.unit else (100, 1)
            table.add_row(
                line(f"{one.figure.replace('_', ' ')}, {_UNITS.get(one.unit, one.unit)}"),
                *(f"{scale * value:.{digits}f}" for value in (one.first, one.second)),
                _shown(one.difference.difference, scale, digits),
                _p(one.difference.p),
                str(one.difference.pairs),
                "" if one.instances_for_gap is None else str(one.instances_for_gap),
            )
        console.print(table)
    if any(one.unit == RELATIVE for one in found):
        console.print(f"rel.: {RELATIVE}")
    for limits in sorted({one.limits for one in found if len(set(one.limits)) > 1}, key=str):
        sizes = " and ".join("all instances" if limit is None else f"a sample of {limit}" for limit in limits)
        console.print(line(f"{first} and {second} have played {sizes}: differences are over what both have"))


def _p(value: float | None) -> str:
    return "" if value is None else "<0.0001" if value < 0.0001 else f"{value:.4f}"


def _limit(limits: tuple[int | None, int | None]) -> str:
    """What the table says of samples."""
    names = ["all" if limit is None else str(limit) for limit in dict.fromkeys(limits)]
    return "" if limits == (None, None) else f" (limit {' against '.join(names)})"


def _shown(estimate: Estimate, scale: float, digits: int) -> str:
    if estimate.mean is None:
        return ""
    interval = (
        ""
        if estimate.low is None or estimate.high is None
        else (f" [{scale * estimate.low:+.{digits}f}, {scale * estimate.high:+.{digits}f}]")
    )
    return f"{scale * estimate.mean:+.{digits}f}{interval}"
