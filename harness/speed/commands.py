"""The command ``mixroute calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.shell_completion import PoolName
from harness.terminal import Terminal, line

if TYPE_CHECKING:
    from rich.table import Table

    from harness.speed.card import Cell


def calibrate(
    pool_name: PoolName,
    to: Annotated[Path | None, typer.Option("--out", help="The card; runs/speed/POOL.json if not given.")] = None,
    concurrency: Annotated[str, typer.Option(help="Calls at once.")] = "1,4,16,64,128",
    length: Annotated[str, typer.Option(help="Prompts' lengths, in tokens.")] = "32,128,512,2048",
    decode: Annotated[int, typer.Option(min=2, help="Tokens that each call decodes after its first.")] = 32,
    repeats: Annotated[int, typer.Option(min=1, help="Samples of each figure.")] = 3,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Draw weights for each model's shape: nothing is downloaded.")
    ] = False,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Time the deterministic mode instead of throughput.")
    ] = False,
) -> None:
    """Time prefill and decode of each model of a pool. The same command again goes on where it was stopped."""
    from harness.pool import load_pool, with_random_weights
    from harness.speed.measure import MeasurementPlan, calibrate

    pool = load_pool(pool_name)
    plan = MeasurementPlan(
        concurrencies=numbers("--concurrency", concurrency),
        lengths=numbers("--length", length),
        decode=decode,
        repeats=repeats,
        mode="deterministic" if deterministic else "throughput",
    )
    path = to or Path("runs/speed") / f"{pool.name}.json"
    err = Terminal(stderr=True)

    def shown(cell: Cell) -> None:
        prefill, decode = (1e3 * cell.seconds(phase)[0] for phase in ("prefill", "decode"))
        line = (
            f"{cell.model}: {cell.concurrency} x {cell.length} tokens: prefill {prefill:.3f} ms, decode {decode:.3f} ms"
        )
        err.print(line, style="dim", highlight=False, markup=False)

    try:
        card = calibrate(with_random_weights(pool) if random_weights else pool, plan, path, shown)
    except KeyboardInterrupt:
        err.print("interrupted: what was measured is kept; the same command goes on from here")
        raise typer.Exit(130) from None
    out = Terminal()
    out.print(cells_table(card.cells))
    for name, arithmetic in card.arithmetic().items():
        out.print(line(f"{name} computes {arithmetic}"))
    out.print(line(f"energy: {card.energy}"))
    if pool.kv_cache is not None:
        names = ", ".join(pool.kv_cache.shared)
        out.print(
            line(
                f"kv_cache: {names} share one cache; each was timed alone, and a call is charged by this card for what "
                "it reads, which leaves out what any of them has read (mixroute switches RUNS --card CARD)"
            )
        )
    out.print(f"speed card: {path}", highlight=False, markup=False)


def numbers(option: str, text: str) -> list[int]:
    """Rising whole numbers from ``1,4,16``."""
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        found = [0]
    if found[0] < 1:
        raise typer.BadParameter(f"{text}: give whole numbers from 1 up, with commas between", param_hint=option)
    return found


def cells_table(cells: list[Cell]) -> Table:
    """Milliseconds a token, with the deviation over repeats; millijoules where they were measured."""
    from rich.table import Table

    phases = ("prefill", "decode")
    energy = all(cell.joules("decode") is not None for cell in cells)
    table = Table(title="milliseconds of the device a token, median ± deviation", title_justify="left")
    for name in ("model", "at once", "prompt", *phases, *(f"mJ {name}" for name in phases if energy)):
        table.add_column(name, justify="left" if name == "model" else "right", no_wrap=True)
    for cell in cells:
        seconds = [cell.seconds(phase) for phase in phases]
        joules = [cell.joules(phase) or 0.0 for phase in phases if energy]
        table.add_row(
            cell.model,
            str(cell.concurrency),
            str(cell.samples[0].prompt_tokens),
            *(f"{1e3 * median:.3f} ± {1e3 * spread:.3f}" for median, spread in seconds),
            *(f"{1e3 * value:.2f}" for value in joules),
        )
    return table
