"""Plans in the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from harness.plan.plan import Plan, PlannedRun
from harness.plan.usage import Usage


def print_plan(plan: Plan, console: Console) -> None:
    """Print what each run should take, and what that rests on."""
    table = _table(
        f"plan of suite {plan.suite}: tokens read anew, read before and written",
        "episodes",
        "steps",
        "read",
        "cached",
        "written",
        "seconds",
        "$",
    )
    for run in plan.runs:
        table.add_row(run.what, *_cells(run.expected, run.dollars))
    table.add_section()
    table.add_row(
        "all", *_cells(_sum([run.expected for run in plan.runs]), _dollars([run.dollars for run in plan.runs]))
    )
    console.print(table)
    console.print(f"seconds: {plan.seconds}", style="dim", highlight=False, markup=False)
    for run in plan.runs:
        kept = f"{run.finished} of {run.instances} are finished; " if run.finished else ""
        console.print(f"{run.what}: {kept}{run.basis}", style="dim", highlight=False, markup=False)


def print_settled(plan: Plan, console: Console) -> None:
    """Print plan against actual."""
    headings = ("episodes", "read", "written", "seconds", "$")
    table = _table("planned / taken: tokens read anew and written", *headings)
    played = [run for run in plan.runs if run.actual is not None and (run.actual.episodes or run.expected.episodes)]
    for run in played:
        table.add_row(run.what, *_pairs(run))
    if played:
        console.print(table)


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("run", overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _cells(usage: Usage, dollars: float | None) -> list[str]:
    read, cached, written = (sum(tokens[place] for tokens in usage.tokens.values()) for place in range(3))
    counts = [f"{value:,.0f}" for value in (usage.episodes, usage.steps, read, cached, written)]
    return [*counts, _known(usage.seconds, 0), _known(dollars, 2)]


def _pairs(run: PlannedRun) -> list[str]:
    planned, taken = _cells(run.expected, run.dollars), _cells(run.actual or Usage(), run.actual_dollars)
    return [f"{planned[place]} / {taken[place]}" for place in (0, 2, 4, 5, 6)]


def _known(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _sum(parts: list[Usage]) -> Usage:
    total = Usage()
    for part in parts:
        total += part
    return total


def _dollars(parts: list[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
