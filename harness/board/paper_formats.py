"""Tables for papers as LaTeX, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence

from harness.board.columns import Column
from harness.board.paper import BEST, SECOND, PaperTable
from harness.board.render import markdown_table
from harness.text import latex, markdown, spreadsheet

_EXPLAINED = (
    "Success with its 95% interval; costs relative to always-high; differences in points on the same games, with 95% "
    "intervals; * p < 0.05, ** p < 0.01, *** p < 0.001 after Holm's correction over all rows of the section. "
    "{marks}, among routers that use both models."
)


def to_latex(tables: Sequence[PaperTable]) -> str:
    """Each table as a ``table*`` of the page's width: intervals small, the best figure bold, the second underlined."""
    parts = [r"% Needs \usepackage{booktabs}, \usepackage{tabularx} and \usepackage[T1]{fontenc}."]
    for table in tables:
        explained = _EXPLAINED.format(marks="Best figure in bold, second underlined")
        widths = "".join("X" if column.heading == "label" else "l" if column.text else "r" for column in table.columns)
        lines = [
            r"\begin{table*}",
            r"\centering",
            rf"\caption{{{latex(f'{table.caption}. {explained}')}}}",
            r"\footnotesize",
        ]
        lines += [
            r"\setlength{\tabcolsep}{4pt}",
            rf"\begin{{tabularx}}{{\textwidth}}{{{_one_wide(widths)}}}",
            r"\toprule",
        ]
        lines += [" & ".join(latex(column.heading) for column in table.columns) + r" \\", r"\midrule"]
        # A cell that begins with a bracket would be read as the optional argument of the \\ before it.
        lines += [" & ".join("{}" + cell for cell in cells) + r" \\" for cells in _cells(table, _latex_cell)]
        lines += [r"\bottomrule", r"\end{tabularx}", r"\end{table*}"]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def to_markdown(tables: Sequence[PaperTable]) -> str:
    """Each table under its caption, the best figure bold, the second in italics."""
    parts = []
    for table in tables:
        parts.append(markdown(table.caption))
        parts.append(markdown_table([column.heading for column in table.columns], _cells(table, _markdown_cell)))
        parts.append(markdown(_EXPLAINED.format(marks="Best figure in bold, second in italics")))
    return "\n\n".join(parts) + "\n"


def to_csv(tables: Sequence[PaperTable]) -> str:
    """Cells as they are shown, after the section's heading; ``board.csv`` has the numbers in full."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    for number, table in enumerate(tables):
        if number == 0:
            writer.writerow(["section", *(column.heading for column in table.columns)])
        writer.writerows(
            [spreadsheet(table.heading), *cells] for cells in _cells(table, lambda text, *_: spreadsheet(text))
        )
    return stream.getvalue()


def to_json(tables: Sequence[PaperTable]) -> str:
    """A list of tables: heading, caption, and cells as they are shown, by column."""
    content = [
        {
            "section": table.heading,
            "caption": table.caption,
            "rows": [
                dict(zip([column.heading for column in table.columns], cells, strict=True))
                for cells in _cells(table, lambda text, *_: text)
            ],
        }
        for table in tables
    ]
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


FORMATS: Mapping[str, Callable[[Sequence[PaperTable]], str]] = {
    "latex": to_latex,
    "markdown": to_markdown,
    "csv": to_csv,
    "json": to_json,
}


def _cells(table: PaperTable, shown: Callable[[str, Column, int | None], str]) -> list[list[str]]:
    return [
        [
            shown(column.cell(row), column, table.marks.get((place, number)))
            for number, column in enumerate(table.columns)
        ]
        for place, row in enumerate(table.rows)
    ]


_FIGURE = re.compile(r"([+-]?[0-9.]+)(?: \[([^]]+)\])?(\**)(.*)", re.DOTALL)
"""A figure, its interval, its stars and the label that it is compared with."""


def _latex_cell(text: str, column: Column, rank: int | None) -> str:
    figure = None if column.heading in ("label", "router") else _FIGURE.fullmatch(text)
    if figure is None:
        return latex(text)
    mean, interval, stars, rest = figure.groups()
    marked = {None: latex(mean), BEST: rf"\textbf{{{latex(mean)}}}", SECOND: rf"\underline{{{latex(mean)}}}"}[rank]
    above = rf"$^{{{stars}}}$" if stars else ""
    small = latex((f"[{interval}]" if interval else "") + rest).strip()
    return marked + above + (rf"\thinspace{{\tiny {small}}}" if small else "")


def _markdown_cell(text: str, column: Column, rank: int | None) -> str:
    plain = markdown(text) if column.text else text
    return plain if rank is None else f"**{plain}**" if rank == BEST else f"*{plain}*"


def _one_wide(widths: str) -> str:
    """Alignments of the columns, of which one takes the width that is left."""
    return widths if "X" in widths else widths[:-1] + "X"
