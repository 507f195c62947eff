"""The command ``mixroute doctor``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from harness.shell_completion import complete_pool
from harness.terminal import Terminal

if TYPE_CHECKING:
    from harness.doctor.findings import Finding
    from harness.doctor.judge import Diagnosis


def doctor(
    pools: Annotated[
        list[str] | None,
        typer.Argument(
            help="Pools that must fit; by default all shipped are checked, smollm2 must.",
            autocompletion=complete_pool,
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Load the pools' models, and compare them with transformers' own pass; may models share caches?",
        ),
    ] = False,
    online: Annotated[
        bool, typer.Option("--online", help="Also ask model hubs, and fetch data of the shipped suites from there.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check which pools fit this machine and why the others do not; exit code 1 if a pool that must fit does not."""
    import msgspec

    may_fetch = "HF_HUB_OFFLINE" not in os.environ
    if not online:
        os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub's package is imported, which is below
    from harness.doctor.judge import diagnose

    diagnosis = diagnose(pools or [], load=check, may_fetch=may_fetch)
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(diagnosis), indent=1))
    else:
        _print(diagnosis, Terminal(), online=online)
    if not diagnosis.ok:
        raise typer.Exit(1)


def _print(diagnosis: Diagnosis, console: Console, *, online: bool) -> None:
    def title(text: str) -> None:
        console.print(text, style="bold", highlight=False, markup=False)

    def line(ok: bool, text: str) -> None:
        console.print(f"  {'ok' if ok else 'no':3} {text}", highlight=False, markup=False, soft_wrap=True)

    def lines(findings: list[Finding]) -> None:
        for one in findings:
            line(one.ok, f"{one.subject}: {one.message}")

    title("machine")
    lines(diagnosis.machine)
    title("backends")
    lines(diagnosis.backends)
    title("pools")
    for one in diagnosis.pools:
        parts = [f"{name} {m.total:.1f} GiB ({m.weights:.1f} weights)" for name, m in one.memory.items() if m.total]
        line(one.ok, f"{one.pool}: " + ", ".join(parts))
        for problem in one.problems:
            console.print(f"        {problem}", style="dim", highlight=False, markup=False, soft_wrap=True)
    if diagnosis.models:
        title("models")
        lines(diagnosis.models)
    title("data of the shipped suites" + ("" if online else ", as far as it lies on this machine (--online asks hubs)"))
    lines(diagnosis.data)
    title("cache")
    lines([diagnosis.cache])
