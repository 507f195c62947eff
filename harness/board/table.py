"""The board: runs sorted into sections and rows, computed from traces and from nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.board.curves import Curve, Point, curves_of, measure
from harness.board.rows import Pile, Row, held_equal, make_row
from harness.board.significance import Contestant, compare_section
from harness.errors import MixrouteError
from harness.files import content_hash
from harness.metrics import pareto_front
from harness.records import RunMeta
from harness.speed.rates import Rates
from harness.traces.read import Played, Run, read_run
from harness.traces.store import EPISODES, RUN

REFERENCE = "always-high"
"""The router whose normalised cost is 1.0."""


@dataclass(frozen=True, slots=True)
class Board:
    """All rows, ordered by task, split, pool and group; within these the best success first."""

    rows: tuple[Row, ...]
    curves: tuple[Curve, ...]

    def sections(self) -> list[tuple[Row, ...]]:
        """The rows of each (task, split, pool, group), in order; only rows of one section may be compared."""
        found: defaultdict[tuple[str, ...], list[Row]] = defaultdict(list)
        for row in self.rows:
            found[row.task, row.split, row.pool, row.group].append(row)
        return [tuple(rows) for rows in found.values()]

    def curves_of(self, section: Sequence[Row]) -> list[Curve]:
        """The curves of one of the sections."""
        return [curve for curve in self.curves if curve.group == section[0].group]


def build_board(folders: Iterable[Path], rates: Rates | None = None) -> Board:
    """Compute the board of run and entry folders; the result does not depend on their order.

    Runs of one group that differ only in their seed become one row. An episode that ended in an error is a failure. A
    run that has not played all its instances appears with a note, and stays off the Pareto front.

    Args:
        folders: Of the runs.
        rates: What calls take, instead of the seconds that were measured; said in a note.

    Raises:
        MixrouteError: no folders, a folder without a readable run, or runs that contradict each other (the same episode
            twice, or one group with two protocols). The message names the file and the mend.
    """
    runs = [read_run(folder, rates) for folder in sorted({folder.resolve() for folder in folders})]
    if not runs:
        raise MixrouteError("no run folders to build a board from: run a suite first, or check the results folder")
    sections: defaultdict[tuple[str, str, str, str], list[Run]] = defaultdict(list)
    for run in runs:
        sections[run.meta.task, run.meta.split, run.meta.pool, run.meta.group].append(run)
    rows: list[Row] = []
    curves: list[Curve] = []
    for key in sorted(sections):
        measured, found = _measured(key, _section(sections[key]))
        rows += measured if rates is None else [_with_note(row, rates.said()) for row in measured]
        curves += found
    return Board(tuple(rows), tuple(curves))


def _section(runs: Sequence[Run]) -> list[Row]:
    expected = held_equal(runs[0].meta)
    names = {"task": "protocol", "mode": "mode", "models": "models"}
    for run in runs[1:]:
        for what, held in held_equal(run.meta).items():
            if held != expected[what]:
                raise MixrouteError(
                    f"{run.folder / RUN} has the group of {runs[0].folder / RUN} but not its {names[what]}: "
                    "one of the two files was changed; restore it, or leave its folder out"
                )
    runs_of: defaultdict[tuple[str, str, str], list[Run]] = defaultdict(list)
    for run in runs:
        runs_of[_key(run.meta)].append(run)
    piles = [_pile(runs_of[key]) for key in sorted(runs_of)]
    # The plainly labelled one first; make_row says so where there is a choice.
    references = sorted((p for p in piles if p.meta.router == REFERENCE), key=lambda p: p.meta.label != REFERENCE)
    rows = _with_tests([make_row(pile, references) for pile in piles], piles)
    return _ranked(_with_fronts(_with_namesakes(rows)))


def _with_tests(rows: Sequence[Row], piles: Sequence[Pile]) -> list[Row]:
    contestants = [
        Contestant(
            label=row.label,
            router=row.router,
            high_share=row.high_share,
            cost=row.cost_absolute.weight_bytes,
            mean=row.success.mean,
            success={(one.instance, one.seed): float(one.success) for one in pile.played},
        )
        for row, pile in zip(rows, piles, strict=True)
    ]
    compared = compare_section(contestants)
    return [msgspec.structs.replace(row, against=own) for row, own in zip(rows, compared, strict=True)]


def _measured(key: tuple[str, str, str, str], rows: Sequence[Row]) -> tuple[list[Row], list[Curve]]:
    """The rows with what needs always-low and always-high beside them, and the section's curves."""
    points = [_point(row) for row in rows]
    ends = {name: [point for point in points if point and point.router == name] for name in ("always-low", REFERENCE)}
    if not all(ends.values()):
        return list(rows), []
    low, high = (found[0] for found in ends.values())
    measured = [
        row if point is None else msgspec.structs.replace(row, measures=measure(point, low, high))
        for row, point in zip(rows, points, strict=True)
    ]
    return measured, curves_of(key, [point for point in points if point], low, high)


def _point(row: Row) -> Point | None:
    """None where the row is not finished or something is unknown."""
    cost = row.cost_absolute.weight_bytes
    if not row.complete or row.high_share is None or cost is None or row.success.mean is None:
        return None
    return Point(row.label, row.router, row.curve, row.high_share, cost, row.success.mean)


def _key(meta: RunMeta) -> tuple[str, str, str]:
    """Equal for runs of one group that differ only in seed."""
    return meta.router, meta.label, content_hash({key: meta.config[key] for key in meta.config if key != "seed"})


def _pile(runs: Sequence[Run]) -> Pile:
    runs = sorted(runs, key=lambda run: (run.meta.seed, run.meta.hash, run.meta.id, run.folder.name))
    episodes: dict[tuple[str, int], tuple[Played, Run]] = {}
    for run in runs:
        for played in run.played:
            _, other = episodes.setdefault((played.instance, played.seed), (played, run))
            if other is not run:
                raise MixrouteError(
                    f"{other.folder / EPISODES} and {run.folder / EPISODES} both hold instance {played.instance!r} "
                    f"with seed {played.seed} for '{run.meta.label}': leave one of the two folders out"
                )
    planned = {(instance, run.meta.seed) for run in runs for instance in run.meta.instances}
    return Pile(tuple(runs), tuple(played for played, _ in episodes.values()), len(planned))


def _with_namesakes(rows: Sequence[Row]) -> list[Row]:
    labels = [row.label for row in rows]
    note = "another row of this section has the same label but another router or configuration"
    return [_with_note(row, note) if labels.count(row.label) > 1 else row for row in rows]


def _with_note(row: Row, note: str) -> Row:
    return msgspec.structs.replace(row, notes=[*row.notes, note])


def front_cost(row: Row, section: Sequence[Row]) -> float | None:
    """The cost axis of a section's plot and Pareto front: weight bytes, normalised where the section has always-high,
    else per episode. None where the row's is unknown (a cost of 0 is: every action takes a call).
    """
    normalised = any(other.cost.weight_bytes is not None for other in section)
    return (row.cost if normalised else row.cost_absolute).weight_bytes or None


def _with_fronts(rows: Sequence[Row]) -> list[Row]:
    points: dict[int, tuple[float, float]] = {}
    for index, row in enumerate(rows):
        cost = front_cost(row, rows)
        if row.complete and cost is not None and row.success.mean is not None:
            points[index] = (cost, row.success.mean)
    on_front = dict(zip(points, pareto_front(list(points.values())), strict=True))
    return [msgspec.structs.replace(row, pareto=on_front.get(index, False)) for index, row in enumerate(rows)]


def _ranked(rows: Sequence[Row]) -> list[Row]:
    """Best success first, then cheapest; rows without episodes last. Python's sort keeps equal rows in key order."""

    def rank(row: Row) -> tuple[bool, float, float]:
        cost = front_cost(row, rows)
        return row.success.mean is None, -(row.success.mean or 0.0), float("inf") if cost is None else cost

    return sorted(rows, key=rank)
