"""The board: every published number, recomputed from run folders and from nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.board.table import Board
    from harness.speed.rates import Rates


def write_board(
    folders: Iterable[Path],
    out: Path,
    *,
    traces: bool = False,
    rates: Rates | None = None,
    evidence: Path | None = None,
    leave_out: bool = False,
) -> Board:
    """Compute the board of run and entry folders and write ``board.{json,md,csv,tex}``, ``accuracy_cost.png`` and the
    page ``index.html``; with ``traces`` the episodes too, for the page's viewer; with ``rates`` a speed card's seconds;
    with ``evidence`` what that folder says of entries; with ``leave_out`` without folders that cannot be read, which it
    then names.

    Each file is replaced whole, and none is touched unless the whole board could be computed and rendered.

    Raises:
        MixrouteError: as ``build_board``, or the evidence is not valid.
    """
    from harness.board.page import to_html, write_traces
    from harness.board.paper import paper_tables
    from harness.board.paper_formats import to_latex
    from harness.board.plot import accuracy_cost_png
    from harness.board.render import to_csv, to_json, to_markdown
    from harness.board.table import build_board
    from harness.files import write_atomically
    from harness.traces.evidence import read_evidence

    folders = list(folders)
    board = build_board(folders, rates, None if evidence is None else read_evidence(evidence), leave_out=leave_out)
    unreadable = {folder for folder, _ in board.left_out}
    traced = [folder for folder in folders if folder.resolve() not in unreadable] if traces else []
    files = {
        "board.json": to_json(board),
        "board.md": to_markdown(board).encode(),
        "board.csv": to_csv(board).encode(),
        "board.tex": to_latex(paper_tables(board)).encode(),
        "accuracy_cost.png": accuracy_cost_png(board),
        "index.html": to_html(board, traced),
    }
    write_traces(traced, out)
    for name, content in files.items():
        write_atomically(out / name, content)
    return board
