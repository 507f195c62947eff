"""Commands that read runs and entries: board, compare, show, switches, tables and figures for papers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.errors import MixrouteError
from harness.terminal import Terminal
from harness.text import clean

if TYPE_CHECKING:
    from harness.board.table import Board

Card = Annotated[Path | None, typer.Option("--card", help="Charge seconds of this speed card, with --at.")]
At = Annotated[float | None, typer.Option("--at", min=1, help="Calls in flight at which the card is to charge.")]

Runs = Annotated[Path, typer.Argument(help="Folder of runs or published entries.")]
RowPatterns = Annotated[
    list[str] | None, typer.Option("--row", help="A label or pattern of labels, in order; may be repeated.")
]
SectionPatterns = Annotated[
    list[str] | None,
    typer.Option("--section", help="Beginning of TASK/SPLIT/POOL/GROUP, or a pattern; may be repeated."),
]


def board(
    runs: Runs = Path("results/entries"),
    to: Annotated[
        Path | None, typer.Option("--out", help="Where the board is written; RUNS/board if not given.")
    ] = None,
    traces: Annotated[bool, typer.Option("--traces", help="Also write the episodes, for the page's viewer.")] = False,
    evidence: Annotated[
        Path | None,
        typer.Option(help="Folder of verdicts and audits; the folder 'evidence' beside RUNS, if there is one."),
    ] = None,
    card: Card = None,
    at: At = None,
) -> None:
    """Compute the leaderboard from traces and write it as a page, Markdown, CSV, JSON, LaTeX and PNG."""
    from harness.board import write_board
    from harness.board.render import print_board
    from harness.speed.rates import open_rates
    from harness.traces.store import find_runs

    folder = to or runs / "board"
    known = evidence or _evidence_beside(runs)
    if evidence is not None and not evidence.is_dir():
        raise MixrouteError(f"--evidence {evidence} is no folder: give the one that mixroute verify wrote")
    rates = open_rates(card, at)
    made = write_board(find_runs(runs), folder, traces=traces, rates=rates, evidence=known, leave_out=True)
    out = Terminal()
    print_board(made, out)
    out.print(f"written to {folder}", highlight=False, markup=False)
    for left_out, reason in made.left_out:
        Terminal(stderr=True).print(
            clean(f"error: left out {left_out.name}: {reason}"), highlight=False, markup=False, soft_wrap=True
        )
    if made.left_out:
        raise typer.Exit(1)


def compare(
    runs: Runs,
    first: Annotated[str, typer.Argument(help="Label of a router, as on the board; or LABEL@ROUTER, LABEL@HASH.")],
    second: Annotated[str, typer.Argument(help="Label of another.")],
    card: Card = None,
    at: At = None,
) -> None:
    """Compare two routers on the same episodes: difference, interval, permutation test."""
    from harness.board.compare import compare_routers, print_comparison
    from harness.speed.rates import open_rates
    from harness.traces.store import find_runs

    rates, out = open_rates(card, at), Terminal()
    print_comparison(compare_routers(find_runs(runs), first, second, rates), first, second, out)
    if rates is not None:
        out.print(rates.note(), style="dim", highlight=False, markup=False)


def show(
    episode: Annotated[str, typer.Argument(metavar="EPISODE", help="RUN/INSTANCE, or any unique part of it.")],
    runs: Annotated[Path, typer.Option(help="Folder of runs or published entries.")] = Path("runs"),
) -> None:
    """Show an episode step by step, with the model that answered each."""
    from harness.board.show import find_episode, show_episode

    folder, instance = find_episode(runs, episode)
    show_episode(folder, instance, Terminal())


def switches(
    runs: Runs = Path("results/entries"),
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
    runs: Runs = Path("results/entries"),
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

    tables = paper_tables(
        _board_of(runs, card, at),
        headings=DEFAULT_COLUMNS if headings is None else [one.strip() for one in headings.split(",")],
        labels=rows or (),
        sections=sections or (),
        caption=caption,
    )
    typer.echo(FORMATS[form](tables), nl=False)


def figure(
    to: Annotated[Path, typer.Option("--out", help="File to write: .pdf, .svg or .png.")],
    runs: Runs = Path("results/entries"),
    rows: RowPatterns = None,
    sections: SectionPatterns = None,
    cost: Annotated[str, typer.Option(help="Cost on the axis: weight_bytes, flops or seconds.")] = "weight_bytes",
    card: Card = None,
    at: At = None,
) -> None:
    """Write a figure for a paper: success against cost of one section."""
    from harness.board.paper_figure import paper_figure
    from harness.files import write_atomically

    form = to.suffix.removeprefix(".").lower()
    write_atomically(
        to, paper_figure(_board_of(runs, card, at), form, sections=sections or (), labels=rows or (), cost=cost)
    )
    Terminal().print(f"written to {to}", highlight=False, markup=False)


def _board_of(runs: Path, card: Path | None, at: float | None) -> Board:
    """The board of runs or entries, with the evidence beside them."""
    from harness.board.table import build_board
    from harness.speed.rates import open_rates
    from harness.traces.evidence import read_evidence
    from harness.traces.store import find_runs

    return build_board(find_runs(runs), open_rates(card, at), read_evidence(_evidence_beside(runs)))


def _evidence_beside(runs: Path) -> Path:
    from harness.traces.evidence import FOLDER

    return runs.resolve().parent / FOLDER
