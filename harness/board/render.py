"""A board as Markdown, CSV, LaTeX, JSON, and as a table in the terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.board.curves import Curve
from harness.board.rows import Row
from harness.board.significance import KINDS, Against
from harness.board.table import Board
from harness.metrics import Estimate
from harness.text import clean, latex, markdown, spreadsheet

SCHEMA = 1
NONE = "-"
"""What stands for a number that is not known."""


def percent(estimate: Estimate) -> str:
    """``88.8 [83.1, 93.5]``, in percent."""
    return _interval(estimate, 100, 1)


def _interval(estimate: Estimate, scale: float, digits: int, sign: str = "") -> str:
    if estimate.mean is None:
        return NONE
    form = f"{{:{sign}.{digits}f}}"
    mean = form.format(estimate.mean * scale)
    if estimate.low is None or estimate.high is None:
        return mean
    return f"{mean} [{form.format(estimate.low * scale)}, {form.format(estimate.high * scale)}]"


def _number(value: float | None, form: str, unit: float = 1.0) -> str:
    return NONE if value is None else form.format(value / unit)


def _against(kind: str, row: Row) -> str:
    """``+5.0 [1.2, 8.9]** (every-k)``: difference in points, stars, and whom against where the heading does not say."""
    one = next((one for one in row.against if one.kind == kind), None)
    if one is None:
        return NONE
    name = "" if one.label == kind else f" ({one.label})"
    return f"{_interval(one.difference, 100, 1, '+')}{one.stars}{name}"


COLUMNS: Mapping[str, Callable[[Row], str]] = {
    "label": lambda row: row.label,
    "router": lambda row: row.router,
    "success %": lambda row: percent(row.success),
    "score": lambda row: _interval(row.score, 1, 3),
    "steps": lambda row: _number(row.steps, "{:.1f}"),
    "invalid %": lambda row: _number(row.invalid_share, "{:.1%}").rstrip("%"),
    "high %": lambda row: _number(row.high_share, "{:.1%}").rstrip("%"),
    "bytes": lambda row: _number(row.cost.weight_bytes, "{:.3f}"),
    "FLOPs": lambda row: _number(row.cost.flops, "{:.3f}"),
    "seconds": lambda row: _number(row.cost.seconds, "{:.3f}"),
    "GB/episode": lambda row: _number(row.cost_absolute.weight_bytes, "{:.2f}", 1e9),
    "episodes": lambda row: f"{row.episodes}" if row.complete else f"{row.episodes} of {row.planned}",
    "instances": lambda row: str(row.instances),
    "seeds": lambda row: str(row.seeds),
    "errors": lambda row: str(row.errors),
    "front": lambda row: "yes" if row.pareto else "",
    **{f"against {kind}": partial(_against, kind) for kind in KINDS},
}
"""Heading -> cell as plain text: the columns of the tables that are written."""

BRIEF = ("label", "success %", "invalid %", "high %", "bytes", "seconds", "errors", "front")
"""The columns that fit a terminal of 80 characters."""

CURVES: Mapping[str, Callable[[Curve], str]] = {
    "curve": lambda curve: markdown(curve.name),
    "points": lambda curve: str(len(curve.labels)),
    "APGR": lambda curve: _number(curve.apgr, "{:.3f}"),
    "CPT 20 %": lambda curve: _number(curve.cpt20, "{:.3f}"),
    "CPT 50 %": lambda curve: _number(curve.cpt50, "{:.3f}"),
    "CPT 80 %": lambda curve: _number(curve.cpt80, "{:.3f}"),
    "AUDC": lambda curve: _number(curve.audc, "{:.3f}"),
    "AIQ": lambda curve: _number(curve.aiq, "{:.3f}"),
    "QNC": lambda curve: _number(curve.qnc, "{:.3f}"),
}
"""Heading -> cell of the table of curves."""

NESTED = ("by_kind", "tokens", "claims", "entry", "protocol")
"""Fields that only the JSON has."""

TEXTS = frozenset({"label", "router", *(f"against {kind}" for kind in KINDS)})


class Published(msgspec.Struct, frozen=True):
    """What ``board.json`` holds."""

    schema: int
    rows: tuple[Row, ...]
    curves: tuple[Curve, ...]


def to_json(board: Board) -> bytes:
    """What ``Published`` says; numbers in full, unknown ones null."""
    # msgspec writes no NaN or infinity: they would be null.
    return msgspec.json.format(msgspec.json.encode(Published(SCHEMA, board.rows, board.curves)), indent=1) + b"\n"


def json_schema() -> bytes:
    """The JSON Schema of ``board.json``, as published in ``docs/board.schema.json``."""
    return json.dumps(msgspec.json.schema(Published), indent=1).encode() + b"\n"


def to_csv(board: Board) -> str:
    """One line a row, numbers in full; success by kind, sources and protocol are in the JSON alone."""
    lines = [_flat(row) for row in board.rows]
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue()


def to_markdown(board: Board) -> str:
    """One heading, table, breakdown by kind and list of notes a section."""
    parts = [
        "# Board",
        "Columns and formulas: docs/board.md. Brackets hold 95% intervals; costs are relative to always-high.",
    ]
    for section in board.sections():
        parts.append(f"## {markdown(title(section[0]))}")
        parts.append("\n".join(f"- {markdown(line)}" for line in facts(section[0])))
        parts.append(_markdown_table(COLUMNS, [_markdown_cells(row) for row in section]))
        curves = board.curves_of(section)
        if curves:
            parts.append("Curves:")
            parts.append(_markdown_table(CURVES, [[cell(curve) for cell in CURVES.values()] for curve in curves]))
        kinds = sorted({kind for row in section for kind in row.by_kind})
        if kinds:
            parts.append("Success % by kind (instances):")
            parts.append(
                _markdown_table(["label", *kinds], [[markdown(row.label), *_by_kind(row, kinds)] for row in section])
            )
        parts.extend(["\n".join(f"- {markdown(note)}" for note in notes(section))] if notes(section) else [])
        claims = claimed(section)
        if claims:
            parts.append("Claimed by papers, with other models, not measured here:")
            parts.append(_markdown_table(["router", "claim", "source"], [list(map(markdown, one)) for one in claims]))
    return "\n\n".join(parts) + "\n"


def to_latex(board: Board) -> str:
    """One ``table`` a section, in booktabs style."""
    parts = [r"% Needs \usepackage{booktabs} and \usepackage[T1]{fontenc}."]
    for section in board.sections():
        caption = "; ".join([title(section[0]), *facts(section[0]), *notes(section)])
        aligned = "".join("l" if heading in TEXTS else "r" for heading in COLUMNS)
        lines = [r"\begin{table}", r"\centering", rf"\caption{{{latex(caption)}}}", rf"\begin{{tabular}}{{{aligned}}}"]
        lines += [r"\toprule", " & ".join(map(latex, COLUMNS)) + r" \\", r"\midrule"]
        # A cell that begins with a bracket would be read as the optional argument of the \\ before it.
        lines += [" & ".join("{}" + latex(cell(row)) for cell in COLUMNS.values()) + r" \\" for row in section]
        lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def print_board(board: Board, console: Console) -> None:
    """Print one table a section to the terminal, with fewer columns than the files."""
    for section in board.sections():
        name = Text(clean(title(section[0])))
        table = Table(title=name, title_justify="left", box=SIMPLE_HEAD, padding=0, show_edge=False)
        for heading in BRIEF:
            if heading in TEXTS:
                table.add_column(heading, overflow="fold")
            else:
                table.add_column(heading, justify="right", no_wrap=True)
        for row in section:
            table.add_row(
                *(Text(clean(COLUMNS[heading](row))) for heading in BRIEF), style="bold" if row.pareto else ""
            )
        console.print(table)
        for line in [*facts(section[0]), *notes(section)]:
            console.print(Text(f"  {clean(line)}", style="dim"))


def title(row: Row) -> str:
    """The heading of the section that ``row`` is in."""
    return f"{row.task}, {row.split}, pool {row.pool} (group {row.group[:12]})"


def facts(row: Row) -> list[str]:
    """The section's conditions, one line for protocol and mode and one a model."""
    protocol = [f"{key} {_plain(value)}" for key, value in _flatten(row.protocol["task"])]
    mode = row.protocol["mode"]
    if mode is not None:
        protocol.append(f"mode {_plain(mode)}")
    lines = ["protocol: " + ", ".join(protocol)] if protocol else []
    for name, card in row.protocol["models"].items():
        size = (
            f"{card['weight_bytes'] / 1e6:,.1f} MB, {card['bits']:g} bits, {card['parameters'] / 1e6:,.1f} M parameters"
        )
        lines.append(f"model {name}: {size}, fingerprint {card['fingerprint'][:12]}")
    return lines


def notes(section: Sequence[Row]) -> list[str]:
    """All notes of a section, each with the label of its row; a note that all rows share is said once."""
    shared = [note for note in section[0].notes if len(section) > 1 and all(note in row.notes for row in section)]
    own = [f"{row.label}: {note}" for row in section for note in row.notes if note not in shared]
    return [f"all rows: {note}" for note in shared] + own


def claimed(section: Sequence[Row]) -> list[tuple[str, str, str]]:
    """Router, claim and source of what papers say of the section's routers."""
    return sorted({(row.router, claim.text, claim.source) for row in section for claim in row.claims})


def _by_kind(row: Row, kinds: Sequence[str]) -> list[str]:
    found = [row.by_kind.get(kind) for kind in kinds]
    return [NONE if kind is None else f"{percent(kind.success)} ({kind.n})" for kind in found]


def _markdown_cells(row: Row) -> list[str]:
    return [markdown(cell(row)) if heading in TEXTS else cell(row) for heading, cell in COLUMNS.items()]


def _markdown_table(headings: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    names = [markdown(heading) for heading in headings]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [names, ["---"] * len(names), *rows])


def _flat(row: Row) -> dict[str, object]:
    flat: dict[str, object] = {}
    for field in msgspec.structs.fields(row):
        value = getattr(row, field.name)
        if isinstance(value, msgspec.Struct):
            flat |= {f"{field.name}_{key}": number for key, number in msgspec.structs.asdict(value).items()}
        elif field.name == "notes":
            flat["notes"] = spreadsheet("; ".join(value))
        elif field.name == "against":
            flat |= _flat_comparisons(value)
        elif field.name not in NESTED:
            flat[field.name] = spreadsheet(value) if isinstance(value, str) else value
    return flat


def _flat_comparisons(compared: Sequence[Against]) -> dict[str, object]:
    by_kind = {one.kind: one for one in compared}
    flat: dict[str, object] = {}
    for kind in KINDS:
        one = by_kind.get(kind)
        values = [None] * 6 if one is None else [one.label, *msgspec.structs.astuple(one.difference), one.p, one.p_holm]
        for name, value in zip(("label", "mean", "low", "high", "p", "p_holm"), values, strict=True):
            shown = spreadsheet(value) if isinstance(value, str) else value
            flat[f"against_{kind.replace(' ', '_').replace('-', '_')}_{name}"] = shown
    return flat


def _flatten(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key in sorted(value):
        inner = value[key]
        pairs += _flatten(inner, f"{prefix}{key}.") if isinstance(inner, dict) else [(f"{prefix}{key}", inner)]
    return pairs


def _plain(value: object) -> str:
    """A protocol value on one line; a hash is cut to 12 digits."""
    if isinstance(value, str):
        is_hash = len(value) >= 32 and set(value) <= set("0123456789abcdef")
        return value[:12] if is_hash else value
    return json.dumps(value)
