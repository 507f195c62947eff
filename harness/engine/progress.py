"""Progress on the terminal: episodes, successes, tokens a second, time left."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from harness.errors import MixrouteError
from harness.records import Episode, EpisodeTiming
from harness.traces.store import TraceWriter


class RunProgress:
    """One bar for one run; a context manager."""

    def __init__(self, console: Console, label: str, done: int, won: int, total: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[won]} won"),
            TextColumn("{task.fields[rate]} tok/s"),
            TimeRemainingColumn(),
            console=console,
        )
        self._bar = self._progress.add_task(escape(label), total=total, completed=done, won=won, rate="-")
        self._won = won
        self._tokens = 0
        self._workers = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def tokens(self, count: int) -> None:
        """Count tokens that were just decoded."""
        self._tokens += count
        elapsed = self._progress.tasks[0].elapsed or 0
        if elapsed:
            each = self._tokens / elapsed / max(1, self._workers)
            rate = f"{self._workers} x {each:.0f}" if self._workers else f"{each:.0f}"
            self._progress.update(self._bar, rate=rate)

    def workers(self, count: int) -> None:
        """Show how many workers play, and the tokens of each."""
        self._workers = count
        self.tokens(0)

    def episode(self, success: bool) -> None:
        """Count a finished episode."""
        self._won += success
        self._progress.update(self._bar, advance=1, won=self._won)


class EpisodeRecorder:
    """Puts finished episodes on disk and on the progress bar.

    Args:
        writer: Writes the episodes.
        progress: Shows them.
        fail_fast: Whether the first episode that ended in an error ends the run, once it is written.
    """

    def __init__(self, writer: TraceWriter, progress: RunProgress, *, fail_fast: bool) -> None:
        self._writer = writer
        self._progress = progress
        self._fail_fast = fail_fast

    def call_finished(self, tokens: int) -> None:
        """Show tokens."""
        self._progress.tokens(tokens)

    def workers(self, count: int) -> None:
        """Show how many workers play."""
        self._progress.workers(count)

    def episode_finished(self, episode: Episode, timing: EpisodeTiming) -> None:
        """Write an episode, and show it.

        Raises:
            MixrouteError: it ended in an error, and the run is to fail fast.
        """
        self._writer.append(episode, timing)
        self._progress.episode(episode.success)
        if episode.error and self._fail_fast:
            raise MixrouteError(f"--fail-fast: {episode.instance} ended in an error: {episode.error}")
