"""The commands ``mixroute switches``, ``table`` and ``figure``, and the options by which commands take a speed card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.terminal import Terminal

Card = Annotated[Path | None, typer.Option("--card", help="Charge seconds of this speed card, with --at.")]
At = Annotated[float | None, typer.Option("--at", min=1, help="Calls in flight at which the card is to charge.")]

RowPatterns = Annotated[
    list[str] | None, typer.Option("--row", help="A label or pattern of labels, in order; may be repeated.")
]
SectionPatterns = Annotated[
    list[str] | None,
    typer.Option("--section", help="Beginning of TASK/SPLIT/POOL/GROUP, or a pattern; may be repeated."),
]


def switches(
    runs: Annotated[Path, typer.Argument(help="Folder of runs or published entries.")] = Path("results/entries"),
    card: Card = None,
    at: At = None,
) -> None:
    """Count redundant prefill where models take turns; with a speed card, weigh it against the time saved."""
    from harness.board.switches import count_switches, print_switches
    from harness.speed.rates import open_rates
    from harness.traces.store import find_runs

    rates, out = open_rates(card, at), Terminal()
    print_switches(count_switches(find_runs(runs), rates), out)
    if rates is not None:
        out.print(rates.note(), style="dim", highlight=False, markup=False)


def table(
    runs: Annotated[Path, typer.Argument(help="Folder of runs or published entries.")] = Path("results/entries"),
    form: Annotated[
        Literal["latex", "markdown", "csv", "json"], typer.Option("--format", help="Form of the tables.")
    ] = "latex",
    headings: Annotated[
        str | None, typer.Option("--columns", help="Headings of board.md, with commas between; seven if not given.")
    ] = None,
    rows: RowPatterns = None,
    sections: SectionPatterns = None,
    caption: Annotated[str, typer.Option(help="Caption; the section's heading if not given.")] = "",
    card: Card = None,
    at: At = None,
) -> None:
    """Print tables for a paper: chosen sections, rows and columns, with the best figures marked."""
    from harness.board.paper import DEFAULT_COLUMNS, paper_tables
    from harness.board.paper_formats import FORMATS
    from harness.board.table import build_board
    from harness.speed.rates import open_rates
    from harness.traces.store import find_runs

    tables = paper_tables(
        build_board(find_runs(runs), open_rates(card, at)),
        headings=DEFAULT_COLUMNS if headings is None else [one.strip() for one in headings.split(",")],
        labels=rows or (),
        sections=sections or (),
        caption=caption,
    )
    typer.echo(FORMATS[form](tables), nl=False)


def figure(
    to: Annotated[Path, typer.Option("--out", help="File to write: .pdf, .svg or .png.")],
    runs: Annotated[Path, typer.Argument(help="Folder of runs or published entries.")] = Path("results/entries"),
    rows: RowPatterns = None,
    sections: SectionPatterns = None,
    cost: Annotated[str, typer.Option(help="Cost on the axis: weight_bytes, flops or seconds.")] = "weight_bytes",
    card: Card = None,
    at: At = None,
) -> None:
    """Write a figure for a paper: success against cost of one section."""
    from harness.board.paper_figure import paper_figure
    from harness.board.table import build_board
    from harness.files import write_atomically
    from harness.speed.rates import open_rates
    from harness.traces.store import find_runs

    board = build_board(find_runs(runs), open_rates(card, at))
    form = to.suffix.removeprefix(".").lower()
    write_atomically(to, paper_figure(board, form, sections=sections or (), labels=rows or (), cost=cost))
    Terminal().print(f"written to {to}", highlight=False, markup=False)
