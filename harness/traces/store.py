"""Episodes on disk: one JSON line an episode; an episode persists whole or not at all.

A run is a folder of three files. ``run.json`` says what was run. ``episodes.jsonl`` holds what happened and nothing
that depends on the clock, so that a deterministic run writes the same bytes again. ``timings.jsonl`` holds what was
measured; its line is written before the episode's, so a finished episode always has one. Published entries hold the
same two files compressed (``.xz``), the statistics of tokens in tables that sibling entries share
(``harness.traces.siblings``). Reading accepts every form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from harness.errors import MixrouteError
from harness.files import read_lines, read_small, read_xz, refuse_devices, repair, write_atomically
from harness.records import Episode, EpisodeTiming, RunMeta
from harness.traces.appending import GrowingFile
from harness.traces.siblings import COMPLETIONS, restorer

SCHEMA = 2
"""Of ``run.json`` and of episodes. Runs of schema 1 were named by the spelling of paths and arguments."""
EPISODES = "episodes.jsonl"
TIMINGS = "timings.jsonl"
RUN = "run.json"
_FILE_NAME = re.compile(r"[\w=+,()-][\w=+,(). -]*")


class TraceWriter:
    """Appends finished episodes of one run to its folder; opening repairs a torn last line and finds what is done."""

    def __init__(self, folder: Path, meta: RunMeta) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.episodes: dict[str, Episode] = {}
        """Finished episodes by instance."""
        existing = folder / RUN
        if existing.exists() and read_meta(folder).hash != meta.hash:
            raise MixrouteError(f"{existing} belongs to another run (hash differs): choose another --out folder")
        for name in (TIMINGS, EPISODES):
            repair(folder / name)
        for episode in read_lines(folder / EPISODES, Episode):
            if episode.run != meta.hash:
                raise MixrouteError(f"{folder / EPISODES} holds episodes of another run: choose another --out folder")
            if episode.end != "error":  # what went wrong is tried again
                self.episodes[episode.instance] = episode
        self._write_sorted()
        if not existing.exists():
            write_atomically(existing, msgspec.json.format(msgspec.json.encode(meta), indent=1) + b"\n")
        self._timings = GrowingFile(folder / TIMINGS)
        self._lines = GrowingFile(folder / EPISODES)

    def append(self, episode: Episode, timing: EpisodeTiming) -> None:
        """Persist one finished episode, flushed to the disk before this returns; seconds are rounded.

        Raises:
            RunStopped: it cannot be written, or the run's folder was deleted.
        """
        for file, record in ((self._timings, timing), (self._lines, episode)):
            file.append(msgspec.json.encode(record) + b"\n")
        self.episodes[episode.instance] = episode

    def close(self) -> None:
        """Close the files and put their lines in order of instance, so that the bytes do not depend on timing.

        Raises:
            RunStopped: the run's folder was deleted.
        """
        for file in (self._timings, self._lines):
            file.close()
        self._write_sorted()

    def _write_sorted(self) -> None:
        timings = {t.instance: t for t in read_lines(self.folder / TIMINGS, EpisodeTiming)}
        for name, records in ((TIMINGS, timings), (EPISODES, self.episodes)):
            if not (self.folder / name).exists():
                continue
            body = b"".join(msgspec.json.encode(records[i]) + b"\n" for i in sorted(records) if i in self.episodes)
            write_atomically(self.folder / name, body)


class _Schema(msgspec.Struct):
    schema: int


def read_meta(folder: Path) -> RunMeta:
    """The ``run.json`` of a run folder.

    Raises:
        MixrouteError: it is missing, not of this schema, or not valid.
    """
    path = folder / RUN
    try:
        content = read_small(path)
        if msgspec.json.decode(content, type=_Schema).schema < SCHEMA:
            raise MixrouteError(
                f"{path} is a run of an older schema, which was named by the spelling of paths and arguments: delete "
                "the folder and run its suite again, which takes known answers from the completion cache; or read it "
                "with mixroute 0.2.0"
            )
        meta = msgspec.json.decode(content, type=RunMeta)
    except OSError as error:
        raise MixrouteError(f"{path} cannot be read ({error.strerror}): not a run folder?") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MixrouteError(f"{path} is not a run of schema {SCHEMA}: {error}") from error
    for key, value in (("id", meta.id), ("hash", meta.hash)):
        if not _FILE_NAME.fullmatch(value):  # files are named by them
            raise MixrouteError(f"{path}: {key} {value[:100]!r} is no name for a file: restore the file")
    for place, found in _objects(meta):
        if not isinstance(found, dict):
            raise MixrouteError(f"{path}: {place} is no object: restore the file")
    return meta


def _objects(meta: RunMeta) -> Iterator[tuple[str, object]]:
    """What is an object in every ``run.json``, or missing, below the fields that are declared."""
    yield from ((f"config.{key}", meta.config.get(key, {})) for key in ("task_args", "router_args"))
    yield from ((f"provenance.{key}", meta.provenance.get(key) or {}) for key in _IN_PROVENANCE)
    yield from ((f"models.{name}.details", card.get("details") or {}) for name, card in meta.models.items())


_IN_PROVENANCE = ("hardware", "packages", "git", "router")


def read_episodes(folder: Path) -> Iterator[Episode]:
    """The episodes of a run or entry folder, in file order.

    Raises:
        MixrouteError: a line is corrupt (a torn last line of a running or killed run is passed over), or a table of a
            packed entry is missing or damaged.
    """
    path, restore = plain_or_xz(folder / EPISODES), restorer(folder)
    episodes = read_lines(path, Episode, restore or bytes)
    yield from episodes if restore is None else _of_their_length(path, episodes)


def _of_their_length(path: Path, episodes: Iterator[Episode]) -> Iterator[Episode]:
    """The episodes, if each call's completion has as many tokens as the call says."""
    for episode in episodes:
        for call in (call for step in episode.steps for call in step.calls):
            lengths = {len(call.logprobs), len(call.entropies), len(call.margins)}
            if lengths != {call.decoded_tokens}:
                raise MixrouteError(
                    f"{path}: instance {episode.instance!r} has a call of {call.decoded_tokens} decoded tokens, whose "
                    f"completion in {COMPLETIONS} has {sorted(lengths)}: restore the file"
                )
        yield episode


def read_timings(folder: Path) -> Iterator[EpisodeTiming]:
    """The measured times of a run or entry folder; a killed run may hold some without an episode."""
    yield from read_lines(plain_or_xz(folder / TIMINGS), EpisodeTiming)


def find_runs(root: Path, *, nested: bool = False) -> list[Path]:
    """The run or entry folders directly in ``root``, or ``root`` itself if it is one, sorted.

    Args:
        root: Where to look.
        nested: Look at any depth, and so among calibration runs too.

    Raises:
        MixrouteError: there are none.
    """
    pattern = f"**/{RUN}" if nested else f"*/{RUN}"
    found = [root] if (root / RUN).exists() else sorted(path.parent for path in root.glob(pattern))
    if not found:
        raise MixrouteError(f"{root} holds no run: run a suite first, or name another folder")
    return found


def read_bytes(path: Path) -> bytes:
    """The content of a file of a run or entry, decompressed if it is an ``.xz``.

    Raises:
        MixrouteError: it is missing or damaged.
    """
    if path.suffix == ".xz":
        return read_xz(path)
    refuse_devices(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise MixrouteError(f"{path} cannot be read ({error.strerror}): restore the file") from error


def plain_or_xz(path: Path) -> Path:
    """The file of a run at ``path``, or the compressed one of an entry where only that exists."""
    packed = path.with_name(path.name + ".xz")
    return packed if packed.exists() and not path.exists() else path
