"""The command ``mixroute time``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.terminal import Terminal, line


def time(
    runs: Annotated[Path, typer.Argument(help="Folder of finished runs, such as runs/default.")],
    concurrency: Annotated[int, typer.Option(min=1, help="Episodes that are replayed at once.")] = 8,
    episodes: Annotated[int, typer.Option(min=1, help="Most instances of a section that are replayed.")] = 32,
    passes: Annotated[int, typer.Option(min=1, help="How often all is measured; 2 or more show the spread.")] = 2,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Time this row (by its label), also if it has a clock; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(help="What instances, blocks and the order of rows are drawn from.")] = 0,
) -> None:
    """Measure seconds that can be compared: replay recorded calls of finished runs, the rows in turn.

    Times the rows that have no clock yet, with always-high beside them. The same command goes on where it was stopped.
    """
    from harness.board.clocks import clocks_table
    from harness.board.table import build_board
    from harness.timing.measure import time_runs
    from harness.timing.session import Settings
    from harness.traces.cost import SECONDS
    from harness.traces.store import find_runs

    out, err = Terminal(), Terminal(stderr=True)
    settings = Settings(concurrency, episodes, passes, seed, sorted(set(only or ())))

    def shown(text: str) -> None:
        err.print(text, style="dim", highlight=False, markup=False)

    try:
        time_runs(runs, settings, shown)
    except KeyboardInterrupt:
        err.print("interrupted: finished blocks are kept; the same command goes on from here")
        raise typer.Exit(130) from None
    for section in build_board(find_runs(runs), leave_out=True).sections():
        timed = [(row.label, row.clock, row.cost[SECONDS]) for row in section if row.clock]
        if timed:
            out.print(clocks_table(timed, f"{section[0].task}, {section[0].split}, pool {section[0].pool}"))
            for note in dict.fromkeys(note for row in section for note in row.notes if note.startswith("seconds")):
                out.print(line(note, "dim"))
    out.print(f"next: mixroute board {runs}", highlight=False, markup=False)
