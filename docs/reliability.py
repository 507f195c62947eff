"""The table of ``docs/reliability.md``, from the figures that the campaign of faults has written.

``make campaign`` runs it: ``python -m docs.reliability runs/campaign``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from docs.marked import fill, table

PAGE = Path(__file__).parent / "reliability.md"
PLACE = "make campaign"
"""Name of the place in the page."""
_COLUMNS = {
    "kills": "kills",
    "trials": "trials",
    "stopped": "stopped with an error",
    "episodes": "finished episodes at stake",
}


def figures_of(folder: Path) -> str:
    """The figures as a table in Markdown, a line each test.

    Raises:
        OSError: the folder cannot be read.
    """
    rows = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    lines = [[row["name"], *(f"{row.get(key, '-')}" for key in _COLUMNS)] for row in rows]
    kills, trials = (str(sum(row.get(key, 0) for row in rows)) for key in ("kills", "trials"))
    return table(["what was disturbed", *_COLUMNS.values()], [*lines, ["all", kills, trials, "", ""]])


if __name__ == "__main__":
    figures = figures_of(Path(sys.argv[1]))
    PAGE.write_text(fill(PAGE.read_text(), lambda name: figures if name == PLACE else None))
