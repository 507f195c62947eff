"""Output to the terminal: whatever text is printed, it cannot act on the terminal or hide from the reader."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from harness.text import clean


class Terminal(Console):
    """A console that makes every text harmless, also within tables, logs and progress bars.

    Escape sequences, control characters, marks of direction and characters of no width become replacement characters;
    the console's own styles stay.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render, with the text of each segment cleaned."""
        for segment in super().render(renderable, options):
            if segment.control or (segment.text.isascii() and segment.text.isprintable()):
                yield segment
            else:
                yield Segment(clean(segment.text, keep="\n"), segment.style)


def line(text: str, style: str = "") -> Text:
    """Text of a cell or line as it is: on one line, and none of it read as markup."""
    return Text(clean(text), style=style)
