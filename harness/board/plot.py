"""The picture of a board: accuracy against cost, one panel a section."""

from __future__ import annotations

import io
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness.board.costs import front_cost, is_normalised
from harness.board.render import title
from harness.board.rows import Row
from harness.board.table import Board
from harness.data import RouterRole
from harness.text import clean, cut
from harness.traces.cost import COST_MODELS, MAIN_COST

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito (2008): distinct under the common colour blindnesses; black is kept for the front.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195", "#888888")
_MARKERS: Mapping[RouterRole, str] = {"trained": "o", "baseline": "s", "random": "^", "oracle": "D"}
Styles = Mapping[tuple[str, RouterRole], tuple[str, str]]
"""Colour and marker by router and role."""

_LABEL_INCHES = 0.19
_MOST_PIXELS = 60_000  # Agg refuses pictures of 2^16 and more


def accuracy_cost_figure(board: Board) -> Figure:
    """Success with its 95% interval against the cost of ``front_cost``, and the Pareto front as a black step line.

    One colour a router, one marker a role: trained routers round, baselines square, random ones triangles, oracles
    hollow diamonds. Rows without a known cost or success are named under the panel. Each point's label stands in a
    column at the right, in order of height and joined by a line, so that labels never cover each other.
    """
    from matplotlib.figure import Figure

    sections, styles = board.sections(), styles_of(board.rows)
    heights = [max(3.4, 1.6 + _LABEL_INCHES * len(section)) for section in sections]
    with own_style():
        figure = Figure(figsize=(9, sum(heights)), layout="constrained")
        panels = figure.subplots(len(sections), 1, squeeze=False, height_ratios=heights)
        for section, axes in zip(sections, panels[:, 0], strict=True):
            _panel(axes, section, title(section[0], board), styles)
    return figure


def accuracy_cost_png(board: Board) -> bytes:
    """``accuracy_cost_figure`` as a picture. Its bytes depend on the board and the version of matplotlib alone."""
    figure = accuracy_cost_figure(board)
    picture = io.BytesIO()
    with own_style():
        dpi = min(150, int(_MOST_PIXELS / figure.get_figheight()))
        figure.savefig(picture, format="png", dpi=dpi, metadata={"Software": None})
    return picture.getvalue()


@contextmanager
def own_style() -> Iterator[None]:
    """Matplotlib's defaults, whatever the user's settings are."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a label in a script that the font lacks
        yield


def styles_of(rows: Iterable[Row]) -> Styles:
    """Colour and marker of each router: one marker a role, and one colour a router among those of its role.

    Args:
        rows: All rows of a board, so that a router looks the same in each of its sections.
    """
    by_role: defaultdict[RouterRole, set[str]] = defaultdict(set)
    for row in rows:
        by_role[row.role].add(row.router)
    return {
        (router, role): (_COLOURS[place % len(_COLOURS)], _MARKERS[role])
        for role, routers in by_role.items()
        for place, router in enumerate(sorted(routers))
    }


def draw_row(axes: Axes, x: float, y: float, row: Row, styles: Styles, **look: Any) -> None:  # noqa: ANN401
    """Draw a row's point with the 95% interval of its success, hollow if it is an oracle's or not finished.

    Args:
        axes: Where.
        x: Its cost.
        y: Its success, in percent.
        row: The row.
        styles: Colours and markers.
        look: Further arguments of ``Axes.errorbar``.
    """
    colour, marker = styles[row.router, row.role]
    low, high = row.success.low, row.success.high
    errors = None if low is None or high is None else [[y - 100 * low], [100 * high - y]]
    filled = row.complete and row.role != "oracle"
    axes.errorbar(x, y, yerr=errors, fmt=marker, color=colour, mfc=None if filled else "white", **look)


def _panel(axes: Axes, section: Sequence[Row], heading: str, styles: Styles) -> None:
    model, normalised = COST_MODELS[MAIN_COST], is_normalised(section)
    unit = 1.0 if normalised else model.scale
    points: list[tuple[float, float, Row]] = []
    absent = []
    for row in section:
        cost = front_cost(row, section)
        if cost is None or row.success.mean is None:
            absent.append(clean(row.label))
        else:
            points.append((cost / unit, 100 * row.success.mean, row))
    axis = f"{model.title}, {'always-high = 1' if normalised else f'{model.unit} an episode'}"
    missing = f"\nnot drawn (cost or success unknown): {cut(', '.join(absent), 90)}" if absent else ""
    axes.set_xlabel(axis + missing, parse_math=False)
    axes.set_ylabel("success, %")
    axes.set_title(cut(clean(heading), 110), parse_math=False, loc="left", fontsize=10)
    axes.grid(alpha=0.25)
    _front(axes, [(x, y) for x, y, row in points if row.pareto])
    for x, y, row in points:
        draw_row(axes, x, y, row, styles, capsize=2, elinewidth=1, markersize=6)
    axes.margins(x=0.08)
    _labels(axes, points, styles)


def _front(axes: Axes, front: list[tuple[float, float]]) -> None:
    if front:
        xs, ys = zip(*sorted(front), strict=True)
        axes.plot(xs, ys, color="black", linewidth=1.2, drawstyle="steps-post", label="Pareto front", zorder=1)
        axes.legend(loc="lower right", fontsize=8, framealpha=0.8)


def _labels(axes: Axes, points: list[tuple[float, float, Row]], styles: Styles) -> None:
    """Labels in a column at the right of the panel, evenly spaced, highest point first."""
    count = len(points)
    for rank, index in enumerate(sorted(range(count), key=lambda i: (-points[i][1], points[i][0], i))):
        x, y, row = points[index]
        line = {"arrowstyle": "-", "color": styles[row.router, row.role][0], "linestyle": ":", "linewidth": 0.9}
        axes.annotate(
            cut(clean(row.label), 40) + ("" if row.complete else " (incomplete)"),
            (x, y),
            xytext=(1.04, 1 - (rank + 0.5) / count),
            textcoords="axes fraction",
            va="center",
            fontsize=8,
            parse_math=False,
            arrowprops=line,
        )
