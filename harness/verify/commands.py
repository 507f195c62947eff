"""The commands ``mixroute verify`` and ``mixroute review``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.errors import MixrouteError
from harness.terminal import Terminal


def verify(
    entries: Annotated[Path, typer.Argument(help="An entry or run, or a folder of them.")] = Path("results/entries"),
    to: Annotated[Path | None, typer.Option("--json", help="Also write the verdicts to this file.")] = None,
    models: Annotated[bool, typer.Option("--models", help="Load the weights and check the model cards, too.")] = False,
    pool: Annotated[
        list[Path] | None, typer.Option("--pool", help="File of a pool that is not shipped; may be repeated.")
    ] = None,
    own: Annotated[
        bool, typer.Option("--own", help="These are runs of mine: read and run the files that they name.")
    ] = False,
    published: Annotated[
        bool,
        typer.Option(
            "--published", help="Check them as published results, with lock.json, calibration and evidence beside them."
        ),
    ] = False,
    lock: Annotated[
        bool, typer.Option("--write-lock", help="Maintainers: write lock.json anew from these entries.")
    ] = False,
    audit: Annotated[
        int, typer.Option(min=0, metavar="N", help="Let the models score the answers of N episodes of each entry.")
    ] = 0,
    seed: Annotated[
        str | None,
        typer.Option(
            help="What --audit draws the episodes from: any text that did not exist when the entries were made; by "
            "default this commit."
        ),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option("--processes", "-j", min=1, help="Entries checked side by side; as many as processors."),
    ] = None,
    evidence: Annotated[
        Path | None,
        typer.Option(help="Folder of evidence: verdicts and audits are written there, and audits not repeated."),
    ] = None,
) -> None:
    """Check entries without any model: replay their actions and decisions, recount their tokens. With --audit, ask the
    models, too.
    """
    import msgspec

    from harness.files import write_atomically
    from harness.traces.store import find_runs
    from harness.verify.entries import verify_entries
    from harness.verify.lock import LOCK, write_lock
    from harness.verify.pools import read_pools
    from harness.verify.publish import verify_published
    from harness.verify.report import print_verdicts

    if published and (models or own):
        given = "--models" if models else "--own"
        raise MixrouteError(f"--published checks what is published, as it is: leave {given} out")
    folders, pools = find_runs(entries), read_pools(pool or ())
    if lock:
        write_lock(entries.parent / LOCK, folders)
    if published:
        verdicts = verify_published(entries, folders, pools=pools, evidence=evidence, processes=processes)
    else:
        verdicts = verify_entries(folders, load_models=models, pools=pools, own=own, processes=processes)
    if audit:
        from harness.verify.evidence import audited

        verdicts = audited(folders, verdicts, audit, seed, pools=pools, evidence=evidence)
    print_verdicts(verdicts, Terminal())
    if to is not None:
        write_atomically(to, msgspec.json.format(msgspec.json.encode(verdicts), indent=1) + b"\n")
    if any(verdict.status == "failed" for verdict in verdicts):
        raise typer.Exit(1)


def review(
    entries: Annotated[Path, typer.Argument(help="Folder of entries with the submission.")],
    base: Annotated[Path, typer.Option(help="Folder of entries without it.")],
    verdicts: Annotated[Path, typer.Option(help="What mixroute verify --published --json wrote of ENTRIES.")],
    to: Annotated[Path, typer.Option("--out", help="File to write, in Markdown.")],
) -> None:
    """Say in plain words what a submission adds, what verification found, and how its rows would stand."""
    from harness.files import write_atomically
    from harness.traces.evidence import FOLDER
    from harness.verify.review import read_verdicts
    from harness.verify.review import review as review_entries

    found = review_entries(entries, base, read_verdicts(verdicts), entries.parent / FOLDER)
    write_atomically(to, found.text.encode())
    if not found.sound:
        raise typer.Exit(1)
