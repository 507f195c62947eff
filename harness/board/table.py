"""The board: runs sorted into sections and rows, computed from traces and from nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.board.curves import Curve
from harness.board.rows import Row
from harness.board.section import make_section, section_of
from harness.errors import MixrouteError
from harness.speed.rates import Rates
from harness.traces.read import Run, read_run


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
        folders: The run and entry folders.
        rates: Seconds of calls, in place of those that were measured; a note of every row names them.

    Raises:
        MixrouteError: no folders, a folder without a readable run, or runs that contradict each other (the same episode
            twice, or one group with two protocols). The message names the file and the fix.
    """
    runs = [read_run(folder, rates) for folder in sorted({folder.resolve() for folder in folders})]
    if not runs:
        raise MixrouteError("no run folders to build a board from: run a suite first, or check the results folder")
    sections: defaultdict[tuple[str, str, str, str], list[Run]] = defaultdict(list)
    for run in runs:
        sections[section_of(run.meta)].append(run)
    note = None if rates is None else rates.note()
    made = [make_section(sections[key], note) for key in sorted(sections)]
    return Board(tuple(row for rows, _ in made for row in rows), tuple(one for _, curves in made for one in curves))
