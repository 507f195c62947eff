"""Results of runs, for notebooks: figures computed from traces, as data frames, a plot and comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from harness.board import write_board
from harness.board.compare import Comparison, compare_routers
from harness.board.paper import DEFAULT_COLUMNS, paper_tables
from harness.board.paper_formats import to_latex
from harness.board.plot import accuracy_cost_figure
from harness.board.table import Board, build_board
from harness.traces.read import read_run
from harness.traces.store import find_runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


class Results:
    """Runs on disk, and what follows from their traces.

    Args:
        folders: Run or entry folders.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self.folders = tuple(folders)

    def __repr__(self) -> str:
        return f"Results of {len(self.folders)} runs: {', '.join(folder.name for folder in self.folders)}"

    @cached_property
    def board(self) -> Board:
        """The leaderboard of the runs, as ``mixroute board`` computes it.

        Raises:
            MixrouteError: a folder cannot be read, or runs contradict each other.
        """
        return build_board(self.folders)

    def to_pandas(self) -> DataFrame:
        """The board as a data frame, a row of the board each.

        Columns are the fields of a row in ``board.json``, those of nested ones joined by ``_``: ``success_mean``,
        ``success_low``, ``cost_weight_bytes`` (relative to always-high), ``cost_absolute_seconds`` (of an episode), ….
        Lists, such as ``against`` and ``notes``, stay lists.
        """
        import pandas

        return pandas.json_normalize(msgspec.to_builtins(self.board.rows), sep="_")

    def episodes(self) -> DataFrame:
        """The finished episodes as a data frame, one a row, in order of run folder and instance.

        ``success`` is false where an episode ended in an error. ``high_share`` is the share of steps that the
        high-precision model answered. ``weight_bytes`` and ``flops`` are totals of the episode; ``seconds`` is None
        where a call was not measured.
        """
        from pandas import DataFrame

        rows = [
            {
                "task": run.meta.task,
                "split": run.meta.split,
                "pool": run.meta.pool,
                "group": run.meta.group,
                "router": run.meta.router,
                "label": run.meta.label,
                "seed": played.seed,
                "instance": played.instance,
                "kind": played.kind,
                "score": played.score,
                "success": played.success,
                "error": played.error,
                "steps": played.steps,
                "invalid": played.invalid,
                "high_share": played.high / max(1, played.steps),
                **played.cost,
            }
            for run in map(read_run, self.folders)
            for played in run.played
        ]
        return DataFrame(rows)

    def compare(self, first: str, second: str) -> list[Comparison]:
        """Compare two routers on the same episodes: success, score, high share and costs, with 95% intervals.

        Args:
            first: Label of a router, as on the board.
            second: Label of another.

        Returns:
            The comparisons of each group of runs that has both.

        Raises:
            MixrouteError: no group of runs has both labels.
        """
        return compare_routers(self.folders, first, second)

    def plot(self) -> Figure:
        """Success against cost with 95% intervals and the Pareto front, one panel a section of the board.

        A notebook shows the figure after ``%matplotlib inline``; ``savefig`` writes it to a file.
        """
        return accuracy_cost_figure(self.board)

    def to_latex(
        self,
        columns: Sequence[str] = DEFAULT_COLUMNS,
        rows: Sequence[str] = (),
        sections: Sequence[str] = (),
        caption: str = "",
    ) -> str:
        """Tables for a paper, as ``mixroute table`` prints them; LaTeX needs ``booktabs`` and ``tabularx``.

        Args:
            columns: Headings of ``board.md``, in order.
            rows: Labels or patterns of labels, in order; all rows if empty.
            sections: Beginnings of ``task/split/pool/group``, or patterns; all sections if empty.
            caption: Caption of each table; the section's heading if empty.

        Raises:
            MixrouteError: a column, row or section is not on the board.
        """
        tables = paper_tables(self.board, headings=columns, labels=rows, sections=sections, caption=caption)
        return to_latex(tables)


def load_results(paths: str | Path | Iterable[str | Path]) -> Results:
    """The results in run or entry folders, or in folders that hold such.

    Args:
        paths: One folder, or several.

    Raises:
        MixrouteError: a folder holds no run.
    """
    roots = [paths] if isinstance(paths, str | Path) else paths
    return Results(folder for root in roots for folder in find_runs(Path(root)))


def board(paths: str | Path | Iterable[str | Path], out: str | Path, *, traces: bool = False) -> Board:
    """Write the board of run or entry folders: JSON, Markdown, CSV, LaTeX, PNG and a page, as ``mixroute board`` does.

    Args:
        paths: As for ``load_results``.
        out: Folder to write to.
        traces: Whether to write the episodes too, for the page's viewer.

    Raises:
        MixrouteError: a folder cannot be read, or runs contradict each other.
    """
    return write_board(load_results(paths).folders, Path(out), traces=traces)
