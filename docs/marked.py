"""Places in pages that a script fills: what stands between ``<!-- figures: NAME -->`` and ``<!-- end -->``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

_MARKED = re.compile(r"(<!-- figures: (?P<name>[^>]*?) -->)(?P<space>\n*)(?P<text>.*?)(\n*<!-- end -->)", re.DOTALL)


def fill(page: str, text_of: Callable[[str], str | None]) -> str:
    """``page`` with other text in its marked places.

    Args:
        page: The page.
        text_of: Gives the text of a place by its name; None leaves it as it is.
    """

    def filled(found: re.Match[str]) -> str:
        text = text_of(found["name"])
        return found[0] if text is None else f"{found[1]}{found['space']}{text}{found[5]}"

    return _MARKED.sub(filled, page)


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    whole = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in whole)
