"""Tables for papers: chosen sections, rows and columns of a board, with the best figures marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from harness.board.columns import Column, columns
from harness.board.render import title
from harness.board.rows import Row
from harness.board.runs import ENDS
from harness.board.section import section_key
from harness.board.table import Board
from harness.errors import MixrouteError
from harness.text import cut, quoted

DEFAULT_COLUMNS = (
    "label",
    "success %",
    "high %",
    "bytes",
    "seconds",
    "against always-high",
    "against matched random",
)
"""Columns that fit a page of two columns."""

BEST, SECOND = 0, 1
"""Ranks that are marked."""


@dataclass(frozen=True, slots=True)
class PaperTable:
    """One table.

    Args:
        heading: The section's heading.
        caption: What stands at the table, without the explanation of marks.
        columns: Its columns.
        rows: Its rows.
        marks: Rank, 0 or 1, of the best and second best figures, by place of row and column.
    """

    heading: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    marks: Mapping[tuple[int, int], int]


def paper_tables(
    board: Board,
    *,
    headings: Sequence[str] = DEFAULT_COLUMNS,
    labels: Sequence[str] = (),
    sections: Sequence[str] = (),
    caption: str = "",
) -> list[PaperTable]:
    """Choose the tables of a board.

    Args:
        board: The board.
        headings: Headings of the columns, in order.
        labels: Patterns of labels (``*`` and ``?``): rows in the order of the patterns. All rows if empty.
        sections: Patterns of sections, ``task/split/pool/group`` or the beginning of it. All if empty.
        caption: Caption of each table; the section's heading if empty.

    Raises:
        MixrouteError: a column, row or section is not on the board.
    """
    if not headings:
        raise MixrouteError("--columns: name at least one column")
    known = {column.heading: column for column in columns()}
    for heading in headings:
        if heading not in known:
            raise MixrouteError(f"--columns: no column {quoted(heading)}; there are: {', '.join(known)}")
    chosen = [known[heading] for heading in headings]
    found = []
    for section in chosen_sections(board, sections):
        if rows := chosen_rows(section, labels):
            heading = title(section[0], board)
            found.append(PaperTable(heading, caption or heading, chosen, rows, _marks(rows, chosen)))
    if not found:
        raise MixrouteError(f"--row: no row has such a label; there are: {_labels(board)}")
    return found


def chosen_sections(board: Board, patterns: Sequence[str]) -> list[tuple[Row, ...]]:
    """The sections whose key begins as one of the patterns; all without any.

    Raises:
        MixrouteError: none does.
    """
    sections = board.sections()
    found = [
        section
        for section in sections
        if not patterns or any(fnmatchcase(section_key(section[0]), f"{pattern}*") for pattern in patterns)
    ]
    if not found:
        keys = ", ".join(section_key(section[0]) for section in sections)
        raise MixrouteError(f"--section: no section begins so; there are: {keys}")
    return found


def chosen_rows(section: Sequence[Row], patterns: Sequence[str]) -> list[Row]:
    """The rows whose label fits one of the patterns, in the order of these; all without any."""
    places = dict.fromkeys(
        place for pattern in patterns or ["*"] for place, row in enumerate(section) if fnmatchcase(row.label, pattern)
    )
    return [section[place] for place in places]


def _labels(board: Board) -> str:
    return ", ".join(sorted({cut(row.label, 40) for row in board.rows}))


def _marks(rows: Sequence[Row], chosen: Sequence[Column]) -> dict[tuple[int, int], int]:
    """Best and second best of each column that has a direction; equal figures share a rank."""
    marks: dict[tuple[int, int], int] = {}
    for number, column in enumerate(chosen):
        if column.best is None:
            continue
        values = {
            place: value
            for place, row in enumerate(rows)
            if _takes_part(row) and (value := column.best.value(row)) is not None
        }
        ranked = sorted(set(values.values()), reverse=column.best.most)[: SECOND + 1]
        marks |= {(place, number): ranked.index(value) for place, value in values.items() if value in ranked}
    return marks


def _takes_part(row: Row) -> bool:
    """Whether a row is among those of which the best are marked."""
    return row.ranked and row.role != "oracle" and row.router not in ENDS
