"""The command ``mixroute doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from harness.shell_completion import complete_pool

if TYPE_CHECKING:
    from harness.doctor.judge import Diagnosis, Finding


def doctor(
    pools: Annotated[
        list[str] | None,
        typer.Argument(
            help="Pools that must fit; if not given all shipped are judged, smollm2 must.",
            autocompletion=complete_pool,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what fits this machine and why the rest does not; exit code 1 if what must fit does not."""
    import msgspec

    from harness.doctor.judge import diagnose

    diagnosis = diagnose(pools or [])
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(diagnosis), indent=1))
    else:
        _print(diagnosis, Console())
    if not diagnosis.ok:
        raise typer.Exit(1)


def _print(diagnosis: Diagnosis, console: Console) -> None:
    def title(text: str) -> None:
        console.print(text, style="bold", highlight=False)

    def line(ok: bool, text: str) -> None:
        console.print(f"  {'ok' if ok else 'no':3} {text}", highlight=False, markup=False, soft_wrap=True)

    def lines(findings: list[Finding]) -> None:
        for one in findings:
            line(one.ok, f"{one.what}: {one.said}")

    title("machine")
    lines(diagnosis.machine)
    title("backends")
    lines(diagnosis.backends)
    title("pools")
    for one in diagnosis.pools:
        parts = [f"{need.model} {need.total:.1f} GiB ({need.weights:.1f} weights)" for need in one.needs if need.total]
        line(one.ok, f"{one.pool}: " + ", ".join(parts))
        for why in one.why_not:
            console.print(f"        {why}", style="dim", highlight=False, markup=False, soft_wrap=True)
    title("data of the shipped suites")
    lines(diagnosis.data)
    title("cache")
    lines([diagnosis.cache])
