"""``mixroute compare``: two routers on the same episodes, from their traces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from harness.board.clocks import row_seconds
from harness.board.costs import charge_errors
from harness.board.runs import RunsAcrossSeeds, router_key, runs_by_router
from harness.board.section import references_of
from harness.errors import MixrouteError
from harness.metrics import Difference, paired_difference, required_instances
from harness.metrics.comparison import Key
from harness.metrics.statistics import Estimate
from harness.speed.rates import Rates
from harness.terminal import line
from harness.text import cut, quoted
from harness.traces.cost import SECONDS
from harness.traces.read import EpisodeNumbers, read_run

GAP = 0.05
"""The difference for which the number of instances is given: five points."""

GPU_SECONDS, MEASURED, MEASURED_RELATIVE = "gpu_seconds", "seconds", "relative_seconds"
_IN_SECONDS = (GPU_SECONDS, MEASURED, MEASURED_RELATIVE)


class Comparison(msgspec.Struct, frozen=True):
    """One figure of two routers, in one group of runs."""

    task: str
    split: str
    figure: str
    """``success``, ``score``, ``high_share``; ``gpu_seconds`` (an episode), for which a speed card is needed. Without
    one, where ``mixroute time`` has measured both: ``seconds`` (an episode) of one session, else ``relative_seconds``,
    over the mean of always-high in the session of each."""
    limits: tuple[int | None, int | None]
    """Sizes of the samples of instances that the two have played, None for all; compared is what both have."""
    first: float
    second: float
    difference: Difference
    instances_for_gap: int | None
    """How many instances it takes to see a difference of five points with 80% power; None where nothing varies."""


def _known(played: EpisodeNumbers, model: str) -> float:
    amount = played.cost[model]
    if amount is None:
        raise MixrouteError(
            f"{played.instance}: its {model} are not known, as a call was not measured or an endpoint did not tell its "
            "tokens: leave that run out"
        )
    return amount


_LONGEST_LABEL = 80  # characters of a label that a message lists

_FIGURES: dict[str, Callable[[EpisodeNumbers], float]] = {
    "success": lambda played: float(played.success),
    "score": lambda played: played.score,
    "high_share": lambda played: played.high / max(1, played.steps),
    GPU_SECONDS: lambda played: _known(played, SECONDS),
}


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
            found += [_compare(name, ours, theirs) for name in _FIGURES if rates or name != GPU_SECONDS]
            found += _compare_clocks(ours, theirs)
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


def _compare(figure: str, ours: RunsAcrossSeeds, theirs: RunsAcrossSeeds) -> Comparison:
    return _compared(figure, ours, theirs, _values(ours, figure), _values(theirs, figure))


def _compare_clocks(ours: RunsAcrossSeeds, theirs: RunsAcrossSeeds) -> list[Comparison]:
    """The measured seconds of both, over the episodes that were timed; nothing where one has none, or where they are of
    two sessions of which one had no always-high.
    """
    one, two = row_seconds(ours.runs), row_seconds(theirs.runs)
    if one.clock is None or two.clock is None:
        return []
    if one.clock.session == two.clock.session:
        return [_compared(MEASURED, ours, theirs, one.by_episode, two.by_episode)]
    if one.reference is None or two.reference is None:
        return []
    values = (
        {key: value / row.reference for key, value in row.by_episode.items()} for row in (one, two) if row.reference
    )
    return [_compared(MEASURED_RELATIVE, ours, theirs, *values)]


def _compared(
    figure: str, ours: RunsAcrossSeeds, theirs: RunsAcrossSeeds, one: Mapping[Key, float], two: Mapping[Key, float]
) -> Comparison:
    return Comparison(
        task=ours.meta.task,
        split=ours.meta.split,
        figure=figure,
        limits=(ours.meta.limit, theirs.meta.limit),
        first=sum(one.values()) / max(1, len(one)),
        second=sum(two.values()) / max(1, len(two)),
        difference=paired_difference(one, two),
        instances_for_gap=None if figure in _IN_SECONDS else required_instances(one, two, GAP),
    )


def _values(row: RunsAcrossSeeds, figure: str) -> dict[Key, float]:
    return {(played.instance, played.seed): _FIGURES[figure](played) for played in row.played}


def print_comparison(found: Sequence[Comparison], first: str, second: str, console: Console) -> None:
    """Print a table a group."""
    table = Table(title=line(f"{first} against {second}"), title_justify="left")
    for name in ("task", "figure", "first", "second", "difference [95%]", "p", "pairs", "instances for 5 points"):
        table.add_column(name, justify="left" if name in ("task", "figure") else "right")
    for one in found:
        in_seconds = one.figure in _IN_SECONDS
        table.add_row(
            line(f"{one.task}/{one.split}{_limit(one.limits)}"),
            one.figure.replace("_", " "),
            *(f"{value:.3f}" if in_seconds else f"{100 * value:.1f}%" for value in (one.first, one.second)),
            _shown(one.difference.difference, *((1, 3) if in_seconds else (100, 1))),
            "" if one.difference.p is None else f"{one.difference.p:.4f}",
            str(one.difference.pairs),
            "" if one.instances_for_gap is None else str(one.instances_for_gap),
        )
    console.print(table)
    for limits in sorted({one.limits for one in found if len(set(one.limits)) > 1}, key=str):
        sizes = " and ".join("all instances" if limit is None else f"a sample of {limit}" for limit in limits)
        console.print(line(f"{first} and {second} have played {sizes}: differences are over what both have"))


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
