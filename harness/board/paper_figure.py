"""A figure for a paper: success against cost of one section, as wide as a column of text."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.board.paper import chosen_rows, chosen_sections
from harness.board.plot import Styles, draw_row, own_style, styles_of
from harness.board.rows import Row
from harness.board.runs import ENDS
from harness.board.section import section_key
from harness.board.table import Board
from harness.errors import MixrouteError
from harness.metrics import pareto_front
from harness.text import clean, cut, quoted
from harness.traces.cost import COST_MODELS, MAIN_COST

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = ("pdf", "svg", "png")
_COLUMN = 3.35  # inches: a column of the usual templates of conferences
_METADATA = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {"Software": None}}


def paper_figure(
    board: Board, form: str, *, sections: Sequence[str] = (), labels: Sequence[str] = (), cost: str = MAIN_COST
) -> bytes:
    """Draw one section of a board.

    Points are rows with 95% intervals, one colour a router and one marker a role; the line is the Pareto front of the
    rows drawn, the dashes lead from always-low over random routers to always-high.

    Args:
        board: The board.
        form: One of ``FORMATS``; the bytes depend on the board and the version of matplotlib alone.
        sections: Patterns of sections, of which one must fit; as for ``harness.board.paper.paper_tables``.
        labels: Patterns of labels; all rows if empty.
        cost: Name of a cost model; costs are relative to always-high.

    Raises:
        MixrouteError: another format or cost, no or several sections, or nothing to draw.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    if form not in FORMATS:
        endings = ", ".join(f".{one}" for one in FORMATS)
        raise MixrouteError(f"--out: no figures in format {quoted(form)}: end the name in one of {endings}")
    if cost not in COST_MODELS:
        raise MixrouteError(f"--cost: no cost {quoted(cost)}; there are: {', '.join(COST_MODELS)}")
    found = chosen_sections(board, sections)
    if len(found) > 1:
        keys = ", ".join(section_key(section[0]) for section in found)
        raise MixrouteError(f"--section: a figure shows one section, and these fit: {keys}")
    points = [
        (amount, 100 * row.success.mean, row)
        for row in chosen_rows(found[0], labels)
        if (amount := row.bounded_cost(cost)) is not None and row.success.mean is not None
    ]
    if not points:
        key, title = section_key(found[0][0]), COST_MODELS[cost].title
        raise MixrouteError(f"--row: no such row of {key} has {title} relative to always-high")
    with own_style(), rc_context({"font.size": 7, "svg.hashsalt": "mixroute", "pdf.fonttype": 42}):
        figure = Figure(figsize=(_COLUMN, 0.78 * _COLUMN), layout="constrained")
        axes = figure.subplots()
        _draw(axes, points, styles_of(board.rows))
        axes.set_xlabel(f"{COST_MODELS[cost].title}, always-high = 1")
        axes.set_ylabel("success, %")
        figure.legend(
            loc="outside lower center", ncols=3, fontsize=6, frameon=False, handletextpad=0.2, columnspacing=0.8
        )
        picture = io.BytesIO()
        figure.savefig(picture, format=form, dpi=300, metadata=_METADATA[form])
    return picture.getvalue()


def _draw(axes: Axes, points: Sequence[tuple[float, float, Row]], styles: Styles) -> None:
    ranked = [(x, y) for x, y, row in points if row.ranked]
    front = sorted(point for point, best in zip(ranked, pareto_front(ranked), strict=True) if best)
    axes.plot(*zip(*front, strict=True), color="black", linewidth=0.9, drawstyle="steps-post", zorder=1)
    drawn = [(row.high_share or 0.0, x, y) for x, y, row in points if row.role == "random" or row.router in ENDS]
    if any(row.role == "random" for *_, row in points):
        _, xs, ys = zip(*sorted(drawn), strict=True)
        axes.plot(xs, ys, color="0.5", linewidth=0.8, linestyle="--", zorder=1)
    named = set()
    for x, y, row in sorted(points, key=lambda point: point[2].router):
        label = None if row.router in named else cut(clean(row.router), 24)
        draw_row(axes, x, y, row, styles, label=label, elinewidth=0.7, markersize=3.5)
        named.add(row.router)
    axes.grid(alpha=0.25, linewidth=0.5)
