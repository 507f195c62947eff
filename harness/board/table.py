"""The board: runs sorted into sections and rows, computed from traces and from nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.board.curves import Curve, Section
from harness.board.overview import BestWithinBudget, overview_of
from harness.board.rows import Row
from harness.board.section import make_section, section_of
from harness.errors import MixrouteError
from harness.speed.rates import Rates
from harness.traces.evidence import Evidence
from harness.traces.read import Run, read_run


@dataclass(frozen=True, slots=True)
class Board:
    """All rows, ordered by task, split, pool, group and limit; within these the best success first."""

    rows: tuple[Row, ...]
    curves: tuple[Curve, ...]
    left_out: tuple[tuple[Path, str], ...] = ()
    """Folders that cannot be read, and why; only where they were to be left out."""

    def sections(self) -> list[tuple[Row, ...]]:
        """The rows of each section, in order; only rows of one section may be compared."""
        found: defaultdict[Section, list[Row]] = defaultdict(list)
        for row in self.rows:
            found[row.task, row.split, row.pool, row.group, row.limit].append(row)
        return [tuple(rows) for rows in found.values()]

    def overview(self) -> list[BestWithinBudget]:
        """The best row within each budget, section by section."""
        return [one for section in self.sections() for one in overview_of(section)]

    def curves_of(self, section: Sequence[Row]) -> list[Curve]:
        """The curves of one of the sections."""
        key = section[0].group, section[0].limit
        return [curve for curve in self.curves if (curve.group, curve.limit) == key]


def build_board(
    folders: Iterable[Path],
    rates: Rates | None = None,
    evidence: Evidence | None = None,
    *,
    leave_out: bool = False,
) -> Board:
    """Compute the board of run and entry folders; the result does not depend on their order.

    Runs of one group that differ only in their seed become one row. An episode that ended in an error is a failure. A
    run that has not played all its instances appears with a note, and stays off the Pareto front.

    Args:
        folders: The run and entry folders.
        rates: Seconds of calls, in place of those that were measured; a note of every row names them.
        evidence: What is known of entries beside their traces; nothing if not given.
        leave_out: Whether to leave out folders that cannot be read, as long as there is another.

    Raises:
        MixrouteError: no folders, a folder without a readable run, or runs that contradict each other (the same episode
            twice, or one group with two protocols). The message names the file and the fix.
    """
    runs: list[Run] = []
    left_out: list[tuple[Path, str]] = []
    for folder in sorted({folder.resolve() for folder in folders}):
        try:
            runs.append(read_run(folder, rates))
        except MixrouteError as error:
            if not leave_out:
                raise
            left_out.append((folder, str(error)))
    if not runs and left_out:
        raise MixrouteError(left_out[0][1])
    if not runs:
        raise MixrouteError("no run folders to build a board from: run a suite first, or check the results folder")
    sections: defaultdict[Section, list[Run]] = defaultdict(list)
    for run in runs:
        sections[section_of(run.meta)].append(run)
    note = None if rates is None else rates.note()
    made = [make_section(sections[key], note, evidence or Evidence()) for key in sorted(sections, key=_place)]
    rows, curves = (tuple(one for part in parts for one in part) for parts in zip(*made, strict=True))
    return Board(rows, curves, tuple(left_out))


def _place(section: Section) -> tuple[object, ...]:
    """Larger samples first, all instances before them."""
    *names, limit = section
    return *names, -1 if limit is None else 0, -(limit or 0)
