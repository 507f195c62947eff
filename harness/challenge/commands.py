"""The command ``mixroute challenge``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.shell_completion import complete_pool
from harness.terminal import Terminal

GAMES = 30
"""Games by default; docs/verification.md, Fresh games, says what so many can see."""


def challenge(
    entry: Annotated[Path, typer.Argument(help="Folder of a published entry.")],
    games: Annotated[int, typer.Option(min=2, help="How many games to draw.")] = GAMES,
    seed: Annotated[
        str | None,
        typer.Option(help="Any text that did not exist when the entry was made; by default this commit."),
    ] = None,
    entries: Annotated[
        Path | None, typer.Option(help="Published entries, for always-high of the group; the entry's folder's.")
    ] = None,
    evidence: Annotated[
        Path | None, typer.Option(help="Folder of evidence; 'evidence' beside the entries if not given.")
    ] = None,
    to: Annotated[Path, typer.Option("--out", help="Folder of the runs.")] = Path("runs/challenge"),
    pool: Annotated[
        str | None,
        typer.Option(help="Pool with the entry's models, where its own is not shipped.", autocompletion=complete_pool),
    ] = None,
) -> None:
    """Play a published row on new games and compare it with its claim; exit code 1 if that is refuted."""
    from harness.challenge.challenge import challenge_entry
    from harness.challenge.outcome import print_outcome
    from harness.traces.evidence import FOLDER

    beside = entries or entry.resolve().parent
    try:
        claim, fresh, record = challenge_entry(
            entry,
            beside,
            evidence or beside.parent / FOLDER,
            seed=seed,
            games=games,
            out=to,
            console=Terminal(stderr=True),
            pool=pool,
        )
    except KeyboardInterrupt:
        Terminal(stderr=True).print("interrupted: finished episodes are kept; the same command goes on from here")
        raise typer.Exit(130) from None
    print_outcome(claim, fresh, record, Terminal())
    if record.status == "refuted":
        raise typer.Exit(1)
