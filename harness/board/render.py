"""A board as Markdown, CSV, JSON, and as a table in the terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.board.columns import CURVE_COLUMNS, NONE, Column, columns, csv_fields, percent
from harness.board.curves import Curve
from harness.board.overview import BestWithinBudget, overview_lines
from harness.board.rows import Row
from harness.board.table import Board
from harness.metrics import BUDGETS
from harness.sharing import stated_sharing
from harness.text import clean, markdown
from harness.traces.cost import COST_MODELS

SCHEMA = 3


class Published(msgspec.Struct, frozen=True):
    """What ``board.json`` holds."""

    schema: int
    budgets: tuple[float, ...]
    """What ``success_within`` of the rows runs over: multiples of always-high's mean cost of an episode."""
    overview: list[BestWithinBudget]
    rows: tuple[Row, ...]
    curves: tuple[Curve, ...]


def to_json(board: Board) -> bytes:
    """JSON of ``Published``; numbers in full, unknown ones null."""
    # msgspec writes no NaN or infinity: they would be null.
    published = Published(SCHEMA, BUDGETS, board.overview(), board.rows, board.curves)
    return msgspec.json.format(msgspec.json.encode(published), indent=1) + b"\n"


def json_schema() -> bytes:
    """The JSON Schema of ``board.json``, as published in ``docs/board.schema.json``."""
    schema = msgspec.json.schema(Published)
    amounts = {
        name: {**msgspec.json.schema(float | None), "description": f"{model.title}, docs/cost.md"}
        for name, model in COST_MODELS.items()
    }
    shares = {name: {**msgspec.json.schema(list[float] | None), "description": "by budget"} for name in COST_MODELS}
    for field, properties in (("cost", amounts), ("cost_absolute", amounts), ("success_within", shares)):
        schema["$defs"]["Row"]["properties"][field] = {
            "type": "object",
            "properties": properties,
            "required": list(properties),
        }
    return json.dumps(schema, indent=1).encode() + b"\n"


def to_csv(board: Board) -> str:
    """One line a row, numbers in full; success by kind, sources and protocol are in the JSON alone."""
    lines = [csv_fields(row) for row in board.rows]
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue()


def to_markdown(board: Board) -> str:
    """One heading, table, breakdown by kind and list of notes a section."""
    shown = columns()
    parts = [
        "# Board",
        "Columns and formulas: docs/board.md. Brackets hold 95% intervals; costs are relative to always-high.",
    ]
    if lines := overview_lines(board.overview()):
        parts += ["## Overview", "\n".join(f"- {markdown(line)}" for line in lines)]
    for section in board.sections():
        parts.append(f"## {markdown(title(section[0], board))}")
        parts.append("\n".join(f"- {markdown(line)}" for line in facts(section[0])))
        parts.append(markdown_table([one.heading for one in shown], [_markdown_cells(row, shown) for row in section]))
        curves = board.curves_of(section)
        if curves:
            parts.append("Curves:")
            cells = [[cell(curve) for cell in CURVE_COLUMNS.values()] for curve in curves]
            parts.append(markdown_table(CURVE_COLUMNS, cells))
        kinds = sorted({kind for row in section for kind in row.by_kind})
        if kinds:
            parts.append("Success % by kind (instances):")
            parts.append(
                markdown_table(["label", *kinds], [[markdown(row.label), *_by_kind(row, kinds)] for row in section])
            )
        parts.extend(["\n".join(f"- {markdown(note)}" for note in notes(section))] if notes(section) else [])
        claims = claimed(section)
        if claims:
            parts.append("Claimed by papers, with other models, not measured here:")
            parts.append(markdown_table(["router", "claim", "source"], [list(map(markdown, one)) for one in claims]))
    return "\n\n".join(parts) + "\n"


def print_board(board: Board, console: Console) -> None:
    """Print one table a section to the terminal, with fewer columns than the files."""
    shown = [column for column in columns() if column.brief]
    for section in board.sections():
        name = Text(clean(title(section[0], board)))
        table = Table(title=name, title_justify="left", box=SIMPLE_HEAD, padding=0, show_edge=False)
        for column in shown:
            if column.text:
                table.add_column(column.heading, overflow="fold")
            else:
                table.add_column(column.heading, justify="right", no_wrap=True)
        for row in section:
            table.add_row(*(Text(clean(column.cell(row))) for column in shown), style="bold" if row.pareto else "")
        console.print(table)
        for line in [*facts(section[0]), *notes(section)]:
            console.print(Text(f"  {clean(line)}", style="dim"))
    for line in overview_lines(board.overview()):
        console.print(Text(clean(line)))


def title(row: Row, board: Board) -> str:
    """The heading of the section that ``row`` is in, with what differs from the board's others on its task, split and
    pool.
    """
    limit = "all instances" if row.limit is None else f"limit {row.limit}"
    run = ", ".join(
        [str(row.protocol["mode"] or "mode unknown")]
        + ([] if row.protocol["temperature"] is None else [f"temperature {row.protocol['temperature']:g}"])
        + [f"kv_cache {json.dumps(value)}" for value in stated_sharing(row.protocol).values()]
    )
    own = f"{row.task}, {row.split}, {limit}, pool {row.pool}, {run}"
    place = row.task, row.split, row.pool
    alike = [other[0] for other in board.sections() if (other[0].task, other[0].split, other[0].pool) == place]
    return "; ".join([own, *_distinct(row, alike)]) + f" (group {row.group[:12]})"


def _distinct(row: Row, alike: Sequence[Row]) -> list[str]:
    """The conditions of a row's section that not all of ``alike`` share, hashes in full where 12 digits do not tell."""
    every = [dict(_conditions(other)) for other in alike]
    own, found = dict(_conditions(row)), []
    for key in sorted({key for one in every for key in one}):
        values = [one.get(key) for one in every]
        if any(value != values[0] for value in values):
            short = [_plain(value) for value in values]
            told = len(set(short)) == len({json.dumps(value) for value in values})
            found.append(f"{key} {_plain(own.get(key)) if told else json.dumps(own.get(key))}")
    return found


def _conditions(row: Row) -> list[tuple[str, Any]]:
    """Protocol and models; limit, mode and temperature are in every heading."""
    models = {f"model {name}": card for name, card in row.protocol["models"].items()}
    return _flatten(row.protocol["task"]) + _flatten(models)


def facts(row: Row) -> list[str]:
    """The section's conditions, one line for the protocol and one a model."""
    protocol = [f"{key} {_plain(value)}" for key, value in _flatten(row.protocol["task"])]
    lines = ["protocol: " + ", ".join(protocol)] if protocol else []
    for name, card in row.protocol["models"].items():
        size = (
            f"{card['weight_bytes'] / 1e6:,.1f} MB, {card['bits']:g} bits, {card['parameters'] / 1e6:,.1f} M parameters"
        )
        if card.get("arithmetic"):
            size += f", linear layers {card['arithmetic']}"
        lines.append(f"model {name}: {size}, fingerprint {card['fingerprint'][:12]}")
    return lines


def notes(section: Sequence[Row]) -> list[str]:
    """All notes of a section, each with the label of its row; a note that all rows share stands there once."""
    shared = [note for note in section[0].notes if len(section) > 1 and all(note in row.notes for row in section)]
    own = [f"{row.label}: {note}" for row in section for note in row.notes if note not in shared]
    return [f"all rows: {note}" for note in shared] + own


def claimed(section: Sequence[Row]) -> list[tuple[str, str, str]]:
    """Router, claim and source of each figure that papers report of the section's routers."""
    return sorted({(row.router, claim.text, claim.source) for row in section for claim in row.claims})


def _by_kind(row: Row, kinds: Sequence[str]) -> list[str]:
    found = [row.by_kind.get(kind) for kind in kinds]
    return [NONE if kind is None else f"{percent(kind.success)} ({kind.n})" for kind in found]


def _markdown_cells(row: Row, shown: Sequence[Column]) -> list[str]:
    return [markdown(column.cell(row)) if column.text else column.cell(row) for column in shown]


def markdown_table(headings: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are Markdown already."""
    names = [markdown(heading) for heading in headings]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [names, ["---"] * len(names), *rows])


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
