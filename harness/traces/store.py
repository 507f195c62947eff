"""Episodes on disk: one JSON line an episode; an episode persists whole or not at all.

A run is a folder of these files. ``run.json`` says what was run. ``episodes.jsonl`` holds what happened and nothing
that depends on the clock, so that a deterministic run writes the same bytes again. ``timings.jsonl`` holds what was
measured; its line is written before the episode's, so a finished episode always has one. ``index.json`` follows from
both (``harness.traces.index``). Published entries hold the two compressed (``.xz``), and the statistics of tokens in
tables that sibling entries share (``harness.traces.siblings``). Reading accepts every form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from harness.errors import MixrouteError
from harness.files import MOST_SMALL, refuse_devices, write_atomically
from harness.json_files import Schema, check_values, convert_plain, decode_json, read_file
from harness.lines import read_lines, read_xz, repair
from harness.records import Episode, EpisodeTiming, RunMeta
from harness.text import one_line, quoted
from harness.traces.appending import GrowingFile
from harness.traces.index import Named, Place, placed_lines, put_in_order, read_index, write_index
from harness.traces.recording import check_read
from harness.traces.relied_on import ReliedOn
from harness.traces.siblings import COMPLETIONS, restorer

SCHEMA = 2
"""Schema of ``run.json`` and of episodes. Runs of schema 1 were named by the spelling of paths and arguments."""
EPISODES = "episodes.jsonl"
TIMINGS = "timings.jsonl"
RUN = "run.json"
CALIBRATION = "calibration"
"""Subfolder of the runs on development episodes that thresholds are chosen on."""
_LINES = (TIMINGS, EPISODES)
LONGEST_NAME = 240
"""Bytes of the name of a run's folder: file systems take 255, and files that are named by runs have suffixes."""
NO_NAME = re.compile(r"[^\w=+,(). -]|^[. ]")
"""What no name of a run's folder has."""


class TraceWriter:
    """Appends finished episodes of one run to its folder; opening repairs a torn last line and finds what is done.

    Args:
        folder: The run's folder.
        meta: What is run.
        play_again: Whether episodes that ended in an error are taken out, to be played again.
    """

    def __init__(self, folder: Path, meta: RunMeta, *, play_again: bool = True) -> None:
        self.folder = folder
        self._run = meta.hash
        existing = folder / RUN
        content = None if existing.exists() else encode_meta(meta, existing)
        folder.mkdir(parents=True, exist_ok=True)
        self._meta = meta if content is not None else read_meta(folder)
        if self._meta.hash != meta.hash:
            raise MixrouteError(f"{existing} belongs to another run (hash differs): choose another --out folder")
        for name in _LINES:
            repair(folder / name)
        self.episodes: dict[str, Place] = self._find_episodes(play_again)
        """Finished episodes by instance."""
        if content is not None:
            write_atomically(existing, content)
        self._timings = GrowingFile(folder / TIMINGS)
        self._lines = GrowingFile(folder / EPISODES)

    def expect(self, instances: Iterable[str]) -> None:
        """Add instances to those of ``run.json``, for a run that does not know them all when it begins. Readers refuse
        an episode of any other instance.

        Raises:
            MixrouteError: there are more than ``run.json`` can hold.
            BadValueError: a name is none that files may hold.
            OSError: it cannot be written.
        """
        known = set(self._meta.instances)
        if new := [one for one in dict.fromkeys(instances) if one not in known]:
            check_values(new)
            meta = replace(self._meta, instances=[*self._meta.instances, *new])
            write_atomically(self.folder / RUN, _formatted_meta(meta, self.folder / RUN))
            self._meta = meta

    def append(self, episode: Episode, timing: EpisodeTiming) -> None:
        """Persist one finished episode, flushed to the disk before this returns; seconds are rounded.

        Raises:
            RunStopped: it cannot be written, or the run's folder was deleted.
        """
        self._timings.append(msgspec.json.encode(timing) + b"\n")
        start, size = self._lines.append(msgspec.json.encode(episode) + b"\n")
        self.episodes[episode.instance] = Place.of(episode, start, size)

    def close(self) -> None:
        """Close the files and put their lines in order of instance, so that the bytes do not depend on timing.

        Raises:
            RunStopped: the run's folder was deleted.
        """
        for file in (self._timings, self._lines):
            file.close()
        if read_index(self.folder, self._run, _LINES) is None:
            self.episodes = self._in_order(self.episodes)
            write_index(self.folder, self._run, self.episodes, _LINES)

    def _find_episodes(self, play_again: bool) -> dict[str, Place]:
        path = self.folder / EPISODES
        known = read_index(self.folder, self._run, _LINES)
        found: dict[str, Place] = {}
        if known is None:
            for episode, start, size in placed_lines(path, Episode):
                if episode.run != self._run:
                    raise MixrouteError(f"{path} holds episodes of another run: choose another --out folder")
                found[episode.instance] = Place.of(episode, start, size)
        done = known or found
        kept = {instance: place for instance, place in done.items() if place.error is None or not play_again}
        return kept if kept == known else self._in_order(kept)

    def _in_order(self, episodes: Mapping[str, Place]) -> dict[str, Place]:
        places = {instance: (place.start, place.size) for instance, place in episodes.items()}
        # The last line of an instance counts: a kill leaves times of an episode that was then played again.
        lines = placed_lines(self.folder / TIMINGS, Named)
        timings = {line.instance: (start, size) for line, start, size in lines if line.instance in episodes}
        put_in_order(self.folder / TIMINGS, timings)
        ordered = put_in_order(self.folder / EPISODES, places)
        return {
            instance: replace(episodes[instance], start=start, size=size) for instance, (start, size) in ordered.items()
        }


def read_meta(folder: Path) -> RunMeta:
    """The ``run.json`` of a run folder.

    Raises:
        MixrouteError: it is missing, not of this schema, or not valid.
    """
    path, fix = folder / RUN, f"it is not a run of schema {SCHEMA}, or damaged: restore the file"
    return _decode_meta(read_file(path, fix), path, fix)


def encode_meta(meta: RunMeta, path: Path) -> bytes:
    """The content of ``run.json``, checked by reading it again.

    Raises:
        MixrouteError: it could not be read again.
    """
    content = _formatted_meta(meta, path)
    _decode_meta(content, path, _UNREADABLE)
    return content


_UNREADABLE = "it could not be read again: change what the suite, the task, the router or the models say of the run"


def _formatted_meta(meta: RunMeta, path: Path) -> bytes:
    """The content of ``run.json``.

    Raises:
        MixrouteError: it is no JSON, or too large.
    """
    try:
        content = msgspec.json.format(msgspec.json.encode(meta), indent=1) + b"\n"
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise MixrouteError(f"{path} cannot be written ({one_line(error)}): {_UNREADABLE}") from error
    if len(content) > MOST_SMALL:
        sizes = {name: len(msgspec.json.encode(getattr(meta, name))) for name in meta.__struct_fields__}
        largest = max(sizes, key=lambda name: sizes[name])
        raise MixrouteError(
            f"{path} would have {len(content)} bytes, {sizes[largest]} of them in '{largest}', and may have "
            f"{MOST_SMALL}: {_UNREADABLE}"
        )
    return content


def _decode_meta(content: bytes, path: Path, fix: str) -> RunMeta:
    plain: object = decode_json(content, Any, str(path), fix)
    if convert_plain(plain, Schema, str(path), fix).schema < SCHEMA:
        raise MixrouteError(
            f"{path} is a run of an older schema, which was named by the spelling of paths and arguments: delete "
            "the folder and run its suite again, which takes known answers from the completion cache; or read it "
            "with mixroute 0.2.0"
        )
    meta: RunMeta = convert_plain(plain, RunMeta, str(path), fix)
    convert_plain(plain, ReliedOn, str(path), fix)
    for key, value in (("id", meta.id), ("hash", meta.hash)):
        if not value or NO_NAME.search(value) or len(value.encode()) > LONGEST_NAME:  # files are named by them
            raise MixrouteError(f"{path}: {key} {quoted(value)} is no name for a file: {fix}")
    return meta


def read_episodes(folder: Path) -> Iterator[Episode]:
    """The episodes of a run or entry folder, in file order.

    Raises:
        MixrouteError: a line is corrupt (a torn last line of a running or killed run is passed over), a table of a
            packed entry is missing or damaged, or a call has statistics of other tokens than it says.
    """
    path, restore = plain_or_xz(folder / EPISODES), restorer(folder)
    where = "" if restore is None else f" in {COMPLETIONS}"
    for episode in read_lines(path, Episode, restore or bytes):
        for call in (call for step in episode.steps for call in step.calls):
            lengths = {len(call.logprobs), len(call.entropies), len(call.margins)}
            if lengths != {call.decoded_tokens} and (where or lengths != {0}):  # none where they are not known
                raise MixrouteError(
                    f"{path}: instance {quoted(episode.instance)} has a call of {call.decoded_tokens} decoded "
                    f"tokens, whose statistics{where} are of {sorted(lengths)}: restore the file"
                )
            try:
                check_read(call)
            except MixrouteError as error:
                raise MixrouteError(
                    f"{path}: instance {quoted(episode.instance)}: {error}: restore the file"
                ) from error
        yield episode


def read_timings(folder: Path) -> Iterator[EpisodeTiming]:
    """The measured times of a run or entry folder; a killed run may hold some without an episode."""
    yield from read_lines(plain_or_xz(folder / TIMINGS), EpisodeTiming)


def read_timed(folder: Path) -> Iterator[tuple[Episode, EpisodeTiming | None]]:
    """The episodes of a run or entry folder in file order, each with its measured times.

    Both files are read side by side, and in order of instance only a line of each is in memory. The last line of an
    instance's times counts, as for ``TraceWriter``.

    Raises:
        MixrouteError: as ``read_episodes``, or a line of times is corrupt.
    """
    path = plain_or_xz(folder / TIMINGS)
    last = {line.instance: number for number, line in enumerate(read_lines(path, Named))}
    waiting: dict[str, EpisodeTiming] = {}
    timings = enumerate(read_timings(folder))
    for episode in read_episodes(folder):
        while episode.instance in last and episode.instance not in waiting:
            number, timing = next(timings, (-1, None))
            if timing is None:  # the file was cut meanwhile
                break
            if last.get(timing.instance) == number:
                waiting[timing.instance] = timing
        last.pop(episode.instance, None)
        yield episode, waiting.pop(episode.instance, None)
    for _ in timings:  # is the rest readable?
        pass


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
