"""The table of ``docs/reliability.md``, from the figures that the campaign of faults has written.

``make campaign`` runs it: ``python -m docs.reliability runs/campaign``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

PAGE = Path(__file__).parent / "reliability.md"
_BEGIN, _END = "<!-- figures of make campaign -->", "<!-- end -->"
_COLUMNS = {
    "kills": "kills",
    "trials": "trials",
    "stopped": "stopped with an error",
    "episodes": "finished episodes at stake",
}


def table(figures: Path) -> str:
    """The figures as a table in Markdown, a line each test.

    Raises:
        OSError: the folder cannot be read.
    """
    rows = [json.loads(path.read_text()) for path in sorted(figures.glob("*.json"))]
    lines = [" | ".join(["what was disturbed", *_COLUMNS.values()]), " | ".join(["---", *["--:"] * len(_COLUMNS)])]
    lines += [" | ".join([row["name"], *(f"{row.get(key, '-')}" for key in _COLUMNS)]) for row in rows]
    kills = sum(row.get("kills", 0) for row in rows)
    lines.append(" | ".join(["all", str(kills), str(sum(row["trials"] for row in rows)), "", ""]))
    return "\n".join(f"| {line} |" for line in lines)


def main(figures: Path) -> None:
    """Put the table into the page."""
    page = PAGE.read_text()
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    PAGE.write_text(f"{before}{_BEGIN}\n\n{table(figures)}\n\n{_END}{after}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
