"""Index of a run: where the line of each episode lies, and how it ended, so that no finished episode is kept in memory.

``index.json`` lies beside the traces of a run that came to its end. It is used only while both files have the sizes and
times of change that it names; otherwise it is made anew from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from harness.files import Record, replacing, write_atomically
from harness.lines import R, read_lines
from harness.records import Episode

INDEX = "index.json"


class Place(Record, frozen=True, array_like=True):
    """Where the line of a finished episode lies in its file, in bytes, and how the episode ended."""

    start: int
    size: int
    success: bool
    error: str | None
    """The error that ended it, if one did."""

    @classmethod
    def of(cls, episode: Episode, start: int, size: int) -> Place:
        """The place of an episode whose line begins at byte ``start``."""
        return cls(start, size, episode.success, episode.error or "" if episode.end == "error" else None)


class Index(Record, frozen=True):
    """The content of ``index.json``."""

    run: str
    """Hash of the run."""
    states: dict[str, tuple[int, int]]
    """Size in bytes and time of change in nanoseconds of each file, by name."""
    episodes: dict[str, Place]
    """Place of each finished episode, by instance."""


class Named(Record, frozen=True, forbid_unknown_fields=False):
    """A line of either file, of which only the instance is read."""

    instance: str


def read_index(folder: Path, run: str, names: tuple[str, ...]) -> dict[str, Place] | None:
    """The places of a run's episodes, if its index holds for the files ``names``; else None."""
    try:
        index = msgspec.json.decode((folder / INDEX).read_bytes(), type=Index)
        return index.episodes if (index.run, index.states) == (run, _states(folder, names)) else None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None  # it is made anew


def write_index(folder: Path, run: str, episodes: Mapping[str, Place], names: tuple[str, ...]) -> None:
    """Write the index of files that are complete."""
    write_atomically(folder / INDEX, msgspec.json.encode(Index(run, _states(folder, names), dict(episodes))))


def _states(folder: Path, names: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    states = {name: (folder / name).stat() for name in names}
    return {name: (state.st_size, state.st_mtime_ns) for name, state in states.items()}


def placed_lines(path: Path, kind: type[R]) -> Iterator[tuple[R, int, int]]:
    """The records of a file of JSON lines, each with the first byte and the size of its line."""
    start = size = 0

    def measure(line: bytes) -> bytes:
        nonlocal size
        size = len(line)
        return line

    for record in read_lines(path, kind, measure):
        yield record, start, size
        start += size


def put_in_order(path: Path, places: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Rewrite a file with the lines at ``places`` alone, in order of instance, unless it is so already.

    Args:
        path: The file.
        places: First byte and size of each line, by instance.

    Returns:
        The places in the new file.
    """
    ordered = sorted(places)
    found: dict[str, tuple[int, int]] = {}
    start = 0
    for instance in ordered:
        found[instance] = start, places[instance][1]
        start += places[instance][1]
    if path.exists() and (found != dict(places) or start != path.stat().st_size):
        with path.open("rb") as lines, replacing(path) as handle:
            for instance in ordered:
                lines.seek(places[instance][0])
                handle.write(lines.read(places[instance][1]))
    return found
