"""Columns of the board, declared in one table for Markdown, CSV, LaTeX and the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import msgspec

from harness.board.clocks import Percentiles, RowClock
from harness.board.curves import Curve
from harness.board.rows import Row
from harness.board.significance import KINDS, Against
from harness.metrics import Estimate
from harness.text import markdown, spreadsheet
from harness.traces.cost import COST_MODELS, MAIN_COST, SECONDS

NONE = "-"
"""Stands for a number that is not known."""


@dataclass(frozen=True, slots=True)
class Best:
    """Which figures of a column are the best."""

    value: Callable[[Row], float | None]
    most: bool
    """Whether more is better."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Args:
        heading: Its name in the tables; empty for one that only the CSV has.
        cell: Plain text of a row's cell.
        fields: Fields of ``Row`` that it stands for; the CSV holds these in full, in the order of ``Row``.
        text: Whether cells are text that a user wrote: it is escaped, and stands at the left.
        brief: Whether it is among the few that fit a terminal of 80 characters.
        best: Which of its figures tables for papers mark; none if not given.
    """

    heading: str
    cell: Callable[[Row], str]
    fields: tuple[str, ...] = ()
    text: bool = False
    brief: bool = False
    best: Best | None = None


def _least_cost(name: str) -> Best:
    return Best(lambda row: row.bounded_cost(name), most=False)


_SUCCESS = Best(lambda row: row.success.mean, most=True)
_SCORE = Best(lambda row: row.score.mean, most=True)


def columns() -> list[Column]:
    """The columns of the tables, in order."""
    main = COST_MODELS[MAIN_COST]
    return [
        Column("label", lambda row: row.label, ("label",), text=True, brief=True),
        Column("router", lambda row: row.router, ("router",), text=True),
        Column("success %", lambda row: percent(row.success), ("success",), brief=True, best=_SUCCESS),
        Column("score", lambda row: _interval(row.score, 1, 3), ("score",), best=_SCORE),
        Column("steps", lambda row: number(row.steps, 1), ("steps",)),
        Column("invalid %", lambda row: _share(row.invalid_share), ("invalid_share",), brief=True),
        Column("high %", lambda row: _share(row.high_share), ("high_share",), brief=True),
        *(
            Column(model.heading, partial(_relative_cost, name), ("cost",), brief=model.brief, best=_least_cost(name))
            for name, model in COST_MODELS.items()
        ),
        Column(
            f"{main.unit}/episode",
            lambda row: number(row.cost_absolute[MAIN_COST], 2, main.scale),
            ("cost_absolute",),
        ),
        Column("s/step", lambda row: _timed(row, lambda clock: number(clock.step_seconds, 3)), ("clock",)),
        Column("step s p50/p95/p99", lambda row: _latency(row, "step", 2), ("clock",)),
        Column("episode s p50/p95/p99", lambda row: _latency(row, "episode", 1), ("clock",)),
        Column("episodes", _episodes, ("episodes", "planned")),
        Column("instances", lambda row: str(row.instances), ("instances",)),
        Column("seeds", lambda row: str(row.seeds), ("seeds",)),
        Column("errors", lambda row: str(row.errors), ("errors",), brief=True),
        Column("front", lambda row: "yes" if row.pareto else "", ("pareto",), brief=True),
        Column("verified", lambda row: row.verified or NONE, ("verified", "unchecked"), text=True),
        Column("audited", _audited, ("audit",), text=True),
        Column("fresh", _fresh, ("fresh",), text=True),
        *(Column(f"against {kind}", partial(_against, kind), ("against",), text=True) for kind in KINDS),
    ]


_SELF_REPORTED = "self-reported"

CSV_ONLY = ("task", "split", "pool", "group", "limit", "role", "curve", "routing_metrics", "collapse", "notes")
"""Fields of ``Row`` that the CSV has beside those of ``columns``; what is in neither is in the JSON alone."""


def percent(estimate: Estimate) -> str:
    """``88.8 [83.1, 93.5]``, in percent."""
    return _interval(estimate, 100, 1)


def number(value: float | None, digits: int, unit: float = 1.0) -> str:
    """The value in multiples of ``unit``."""
    return NONE if value is None else f"{value / unit:.{digits}f}"


def csv_fields(row: Row) -> dict[str, object]:
    """Column of the CSV -> value, in the order of the fields of ``Row``."""
    wanted = {*CSV_ONLY, *(field for column in columns() for field in column.fields)}
    flat: dict[str, object] = {}
    for name in (field for field in row.__struct_fields__ if field in wanted):
        value = getattr(row, name)
        if name in ("notes", "unchecked"):
            flat[name] = "; ".join(value)
        elif name in _EVIDENCE:
            flat |= {f"{name}_{key}": getattr(value, key, None) for key in _EVIDENCE[name]}
        elif name == "clock":
            flat |= _flat_clock(value)
        elif name == "against":
            flat |= _flat_comparisons(value)
        elif isinstance(value, msgspec.Struct | dict):
            inner = value if isinstance(value, dict) else msgspec.structs.asdict(value)
            flat |= {f"{name}_{key}": one for key, one in inner.items()}
        else:
            flat[name] = value
    return {name: spreadsheet(value) if isinstance(value, str) else value for name, value in flat.items()}


def _flat_clock(clock: RowClock | None) -> dict[str, object]:
    """Its fields, without the lists of passes; those of percentiles as ``clock_step_p95``."""
    flat: dict[str, object] = {}
    for name in RowClock.__struct_fields__:
        value = getattr(clock, name, None)
        if name in ("step", "episode"):
            flat |= {f"clock_{name}_{one}": getattr(value, one, None) for one in Percentiles.__struct_fields__}
        elif name not in ("episode_seconds", "episode_relative"):
            flat[f"clock_{name}"] = value
    return flat


def _flat_comparisons(compared: Sequence[Against]) -> dict[str, object]:
    by_kind = {one.kind: one for one in compared}
    flat: dict[str, object] = {}
    for kind in KINDS:
        one = by_kind.get(kind)
        values = [None] * 6 if one is None else [one.label, *msgspec.structs.astuple(one.difference), one.p, one.p_holm]
        prefix = f"against_{kind.replace(' ', '_').replace('-', '_')}"
        flat |= {f"{prefix}_{name}": value for name, value in zip(_COMPARED, values, strict=True)}
    return flat


_EVIDENCE = {
    "audit": ("status", "entries", "episodes", "calls", "asked_again", "largest_gap"),
    "fresh": ("status", "games", "success", "cost", "claimed_cost", "p"),
}
"""Fields of the CSV for the evidence of a row."""

_COMPARED = ("label", "mean", "low", "high", "p", "p_holm")


def _interval(estimate: Estimate, scale: float, digits: int, sign: str = "") -> str:
    if estimate.mean is None:
        return NONE
    form = f"{{:{sign}.{digits}f}}"
    mean = form.format(estimate.mean * scale)
    if estimate.low is None or estimate.high is None:
        return mean
    return f"{mean} [{form.format(estimate.low * scale)}, {form.format(estimate.high * scale)}]"


def _share(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.1f}"


def _relative_cost(name: str, row: Row) -> str:
    shown = number(row.cost[name], 3)
    return shown if name != SECONDS or row.clock is None else _timed(row, lambda clock: shown)


def _latency(row: Row, of: Literal["step", "episode"], digits: int) -> str:
    def shown(clock: RowClock) -> str:
        found = clock.step if of == "step" else clock.episode
        return " / ".join(f"{one:.{digits}f}" for one in (found.p50, found.p95, found.p99))

    return _timed(row, shown)


def _timed(row: Row, shown: Callable[[RowClock], str]) -> str:
    """A figure of the row's clock, if something bounds it."""
    if row.clock is None:
        return NONE
    return _SELF_REPORTED if row.self_reported else shown(row.clock)


def _episodes(row: Row) -> str:
    return f"{row.episodes}" if row.complete else f"{row.episodes} of {row.planned}"


def _audited(row: Row) -> str:
    """``ok, 16 episodes``, with how many entries where not all of the row's were audited."""
    if row.audit is None:
        return NONE
    some = "" if row.audit.entries == len(row.entry) else f", {row.audit.entries} of {len(row.entry)} entries"
    return f"{row.audit.status}, {row.audit.episodes} episodes{some}"


def _fresh(row: Row) -> str:
    return NONE if row.fresh is None else f"{row.fresh.status}, {row.fresh.games} games"


def _against(kind: str, row: Row) -> str:
    """``+5.0 [1.2, 8.9]** (every-k)``: difference in points, stars, and the other row where the heading names none."""
    one = next((one for one in row.against if one.kind == kind), None)
    if one is None:
        return NONE
    name = "" if one.label == kind else f" ({one.label})"
    return f"{_interval(one.difference, 100, 1, '+')}{one.stars}{name}"


CURVE_COLUMNS: Mapping[str, Callable[[Curve], str]] = {
    "curve": lambda curve: markdown(curve.name),
    "points": lambda curve: str(len(curve.labels)),
    "APGR": lambda curve: number(curve.apgr, 3),
    "CPT 20 %": lambda curve: number(curve.cpt20, 3),
    "CPT 50 %": lambda curve: number(curve.cpt50, 3),
    "CPT 80 %": lambda curve: number(curve.cpt80, 3),
    "AUDC": lambda curve: number(curve.audc, 3),
    "AIQ": lambda curve: number(curve.aiq, 3),
    "QNC": lambda curve: number(curve.qnc, 3),
}
"""Heading -> cell of the table of curves, in Markdown."""
