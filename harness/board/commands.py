"""The command ``mixroute switches``, and the options by which commands take a speed card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.terminal import Terminal

Card = Annotated[Path | None, typer.Option("--card", help="Charge seconds of this speed card, with --at.")]
At = Annotated[float | None, typer.Option("--at", min=1, help="Calls in flight at which the card is to charge.")]


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
