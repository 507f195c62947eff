"""Plans in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from harness.plan.plan import Plan
from harness.plan.usage import Usage
from harness.terminal import line
from harness.text import clean
from harness.traces.cost import COST_MODELS, SECONDS, CostModel


def print_plan(plan: Plan, console: Console, workers: int = 1) -> None:
    """Print the expected usage of each run, what that rests on, and what it comes to for each of several workers."""
    costs = [model.unit for model in COST_MODELS.values()]
    table = _table(f"plan of suite {plan.suite}", "episodes", "steps", *_TOKENS, *costs, "$")
    for run in plan.runs:
        table.add_row(line(run.what), *_cells(run.expected, run.dollars))
    table.add_section()
    whole = _sum([run.expected for run in plan.runs])
    table.add_row("all", *_cells(whole, _dollars([run.dollars for run in plan.runs])))
    console.print(table)
    seconds = whole.cost.get(SECONDS)
    if workers > 1:
        told = "unknown" if seconds is None else f"{seconds / workers:,.0f} s each, loading not counted"
        console.print(clean(f"{workers} workers: {told}"), style="dim", highlight=False, markup=False)
    console.print(clean(f"seconds: {plan.seconds}"), style="dim", highlight=False, markup=False)
    for run in plan.runs:
        finished = f"{run.finished} of {run.instances} are finished; " if run.finished else ""
        console.print(clean(f"{run.what}: {finished}{run.basis}"), style="dim", highlight=False, markup=False)


def print_settled(plan: Plan, console: Console) -> None:
    """Print expected and actual usage; costs that follow from the tokens are left out."""
    timed = [model for model in COST_MODELS.values() if model.timed]
    table = _table("planned / actual", "episodes", "prefill", "decoded", *(model.unit for model in timed), "$")
    played = [run for run in plan.runs if run.actual is not None and (run.actual.episodes or run.expected.episodes)]
    for run in played:
        pairs = zip(
            _compared(run.expected, run.dollars, timed),
            _compared(run.actual or Usage(), run.actual_dollars, timed),
            strict=True,
        )
        table.add_row(line(run.what), *(f"{planned} / {actual}" for planned, actual in pairs))
    if played:
        console.print(table)


_TOKENS = ("prefill", "cached", "decoded")


def _table(title: str, *headings: str) -> Table:
    table = Table(title=line(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("run", overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _cells(usage: Usage, dollars: float | None) -> list[str]:
    counts = [f"{value:,.0f}" for value in (usage.episodes, usage.steps, *_tokens(usage))]
    return [*counts, *(_amount(usage, model) for model in COST_MODELS.values()), _known(dollars, 2)]


def _compared(usage: Usage, dollars: float | None, shown: Sequence[CostModel]) -> list[str]:
    prefill, _, decoded = _tokens(usage)
    counts = [f"{value:,.0f}" for value in (usage.episodes, prefill, decoded)]
    return [*counts, *(_amount(usage, model) for model in shown), _known(dollars, 2)]


def _tokens(usage: Usage) -> list[float]:
    return [sum(tokens[place] for tokens in usage.tokens.values()) for place in range(len(_TOKENS))]


def _amount(usage: Usage, model: CostModel) -> str:
    amount = usage.cost.get(model.name, 0.0)
    return _known(None if amount is None else amount / model.scale, 0)


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
