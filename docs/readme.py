"""The figures of ``README.md``: each stands between two comments, where this script writes what ``board.json`` says.

``make readme`` runs it; a test asserts that it would change nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from docs.marked import fill, table
from harness.board.columns import number, percent
from harness.metrics import Estimate

REPOSITORY = Path(__file__).parent.parent
Row = dict[str, Any]

_LABELS = {"dmr lambda=0.1": "dmr, lambda 0.1", "dmr lambda=0.1 t=0.35": "the same, threshold 0.35"}
_LABELS |= {"random(p=0.3)": "random, p = 0.3, ten seeds"}


class Figures:
    """What README.md shows of a board, by the name that stands in its comments.

    Args:
        rows: The rows of ``board.json``.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def of(self, name: str) -> str:
        """The text between the comments of ``name``."""
        task, _, label = name.partition(", ")
        match task:
            case "games of the default suite":
                return self._default("alfworld-gen")
            case "goals of the default suite":
                return self._default("webshop-gen", score=True)
            case "what precision is worth":
                return self._precision()
            case "what routing is worth":
                return self._routing()
            case "what routing saves in seconds":
                return self._saved()
            case "small shop":
                return self._shop(label)
        raise ValueError(f"README.md: there are no figures of the name '{name}'")

    def _section(self, task: str, split: str, pool: str = "smollm2", limit: int | None = None) -> list[Row]:
        """The rows of a task and split, in the order of the board."""
        wanted = (pool, task, split, limit)
        return [row for row in self._rows if (row["pool"], row["task"], row["split"], row["limit"]) == wanted]

    def _row(self, task: str, split: str, label: str) -> Row:
        (row,) = (row for row in self._section(task, split) if row["label"] == label)
        return row

    def _default(self, task: str, *, score: bool = False) -> str:
        """Rows of the default suite; with seconds where ``mixroute time`` has measured any."""
        rows = [row for row in self._rows if (row["task"], row["split"]) == (task, "test") and row["limit"]]
        timed = any(row["cost"]["seconds"] is not None for row in rows)
        head = ["router", "success % [95%]", *(["score"] if score else []), "high share %", "bytes"]
        return table([*head, *(["seconds"] if timed else [])], [
            [
                row["label"], _won(row), *([number(row["score"]["mean"], 3)] if score else []), _high(row),
                number(row["cost"]["weight_bytes"], 3), *([number(row["cost"]["seconds"], 3)] if timed else []),
            ]
            for row in rows
        ])  # fmt: skip

    def _precision(self) -> str:
        lines = []
        for games, task, split in _SPLITS:
            rows = [self._row(task, split, label) for label in ("always-high", "always-low")]
            scored = [f", score {100 * row['score']['mean']:.1f}" if task == "webshop" else "" for row in rows]
            lines.append([games, *(f"{_won(row)}{score}" for row, score in zip(rows, scored, strict=True))])
        return table(["games", "always-high won % [95%]", "always-low won % [95%]"], lines)

    def _routing(self) -> str:
        lines = []
        for label, shown in _LABELS.items():
            rows = [self._row("alfworld-gen", "test", label), self._row("alfworld", "valid_unseen", label)]
            costs = ", ".join(number(row["cost"]["weight_bytes"], 3) for row in rows)
            lines.append([shown, *(cell for row in rows for cell in (_won(row), _high(row))), costs])
        won, high = "won % [95%]", "high share %"
        return table(
            ["router", f"`alfworld-gen` test {won}", high, f"ALFWorld valid_unseen {won}", high, "bytes"], lines
        )

    def _saved(self) -> str:
        """Rows of the packed pool, which ``mixroute time`` has measured."""
        lines = [
            [
                games, _SAVED[row["label"]], _won(row), _high(row),
                *(number(row["cost"][of], 2) for of in ("weight_bytes", "seconds")),
            ]
            for games, task, split, limit in _TIMED
            for row in self._section(task, split, "smollm2-packed-two-caches", limit)
            if row["label"] in _SAVED
        ]  # fmt: skip
        return table(["games", "router", "won % [95%]", "high share %", "bytes", "seconds"], lines)

    def _shop(self, label: str) -> str:
        row = self._row("webshop", "test", label)
        return _SHOP[label].format(
            success=100 * row["success"]["mean"], won=_won(row).replace(" ", "% ", 1), high=_high(row),
            bytes=number(row["cost"]["weight_bytes"], 3),
        )  # fmt: skip


_SAVED = {
    "always-high": "always-high", "dmr of smollm2": "dmr", "random(p=0.35)": "random, p = 0.35",
    "always-low": "always-low",
}  # fmt: skip
_SPLITS = (
    ("`alfworld-gen` test, 120", "alfworld-gen", "test"),
    ("ALFWorld valid_seen, 140", "alfworld", "valid_seen"),
    ("ALFWorld valid_unseen, 134", "alfworld", "valid_unseen"),
    ("WebShop small, goals 0-499", "webshop", "test"),
)
_TIMED = (
    ("`alfworld-gen` test, 120", "alfworld-gen", "test", None),
    ("ALFWorld valid_unseen, 134", "alfworld", "valid_unseen", None),
    ("WebShop small, 200 of goals 0-499", "webshop", "test", 200),
)
_SHOP = {
    "dmr official lambda=0.1 t=0.35": "{won} at a high share of {high}% and {bytes} of always-high's bytes",
    "random(p=0.37)": "{won} at {high}%",
    "always-high": "{success:.1f}%",
}


def _won(row: Row) -> str:
    return percent(msgspec.convert(row["success"], Estimate))


def _high(row: Row) -> str:
    return number(row["high_share"], 1, 0.01)


def filled_in(readme: str, board: bytes) -> str:
    """``readme`` with the figures of ``board``, the content of a ``board.json``."""
    return fill(readme, Figures(json.loads(board)["rows"]).of)


if __name__ == "__main__":
    path = REPOSITORY / "README.md"
    path.write_text(filled_in(path.read_text(), (REPOSITORY / "results" / "board.json").read_bytes()))
