"""The commands ``mixroute merge`` and ``mixroute pack``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.terminal import Terminal
from harness.text import clean, quoted

_SHOWN = 3
"""Missing instances that are named."""


def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of runs, such as shards.")],
    to: Annotated[Path, typer.Option("--out", help="Folder of the merged runs; what it holds already is merged, too.")],
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Join also what other versions or kinds of machines played, and record it.")
    ] = False,
) -> None:
    """Join runs that were played in parts. Exit code 1 if episodes are still missing, which are named."""
    from harness.traces.merge import merge_runs

    out, err = Terminal(), Terminal(stderr=True)
    merged = merge_runs(folders, to, mixed=mixed)
    unfinished = [run for run in merged if run.missing or run.failed]
    for run in unfinished:
        planned, named = len(run.meta.instances), ", ".join(map(quoted, run.missing[:_SHOWN]))
        names = f" ({named}{', …' if len(run.missing) > _SHOWN else ''})" if run.missing else ""
        failed = f", {run.failed} ended in an error" if run.failed else ""
        line = f"{run.folder}: {len(run.missing)} of {planned} episodes are missing{names}{failed}"
        err.print(clean(line), highlight=False, markup=False, soft_wrap=True)
    if unfinished:
        err.print(f"to play them: mixroute run SUITE --out {to}", highlight=False, markup=False, soft_wrap=True)
    out.print(f"{len(merged)} runs are in {to}; next: mixroute board {to}", highlight=False, markup=False)
    if unfinished:
        raise typer.Exit(1)


def pack(
    runs: Annotated[Path, typer.Argument(help="Folder of runs or published entries.")],
    to: Annotated[Path, typer.Option("--out", help="Folder of published entries.")] = Path("results/entries"),
) -> None:
    """Compress finished runs, or entries of an older form, into entries that can be committed; the board reads all."""
    from harness.traces.pack import pack_run
    from harness.traces.store import find_runs

    out = Terminal()
    for folder in find_runs(runs):
        out.print(str(pack_run(folder, to)), highlight=False, markup=False)
