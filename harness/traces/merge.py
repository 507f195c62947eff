"""Merging: runs that were played in parts, such as shards, become one folder, whose lines are those of the parts.

Nothing is written before all parts were read and fit together. The folder that is written to is itself a part, if it
holds runs, and every file in it is replaced at once: a merge that was killed is repeated.
"""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.errors import MixrouteError
from harness.files import locked_folder, replacing, write_atomically
from harness.records import RunMeta
from harness.text import quoted
from harness.traces.clock import CLOCK
from harness.traces.contamination import write_seen
from harness.traces.parts import PLAYED_ON, Line, Whole, check_machines, find_parts
from harness.traces.store import EPISODES, RUN, TIMINGS, encode_meta

log = logging.getLogger(__name__)

_OPEN_FILES = 128
"""Files that are open at once: their lines are in order of instance, and hop from shard to shard."""


@dataclass(frozen=True, slots=True)
class Merged:
    """A run that was merged."""

    folder: Path
    meta: RunMeta
    missing: tuple[str, ...]
    """Planned instances without an episode."""
    failed: int
    """Episodes that ended in an error, which ``mixroute run`` plays again."""


def merge_runs(sources: Sequence[Path], out: Path, *, mixed: bool = False) -> list[Merged]:
    """Join the episodes and times of the runs in ``sources``, by run hash, into the folder of runs ``out``.

    Args:
        sources: Folders of runs, such as the shards of a suite; they are only read.
        out: Folder of the merged runs. What it holds already is merged, too.
        mixed: Join also what several versions or kinds of machines played, and record which played what.

    Returns:
        The runs, calibration runs included.

    Raises:
        MixrouteError: a folder holds no run, or is damaged, or parts do not fit together: two different episodes of
            one instance, other content of ``run.json``, other versions or machines.
    """
    with locked_folder(out):
        own = [out] if any(out.glob(f"*/{RUN}")) else []
        others = [one for one in dict.fromkeys(path.resolve() for path in sources) if one != out.resolve()]
        reader = _Reader()
        wholes = find_parts([*own, *others])
        for whole in wholes.values():
            if not mixed:
                check_machines(whole.parts)
            _choose(whole, reader)
        return [_write(whole, out / whole.parts[0].place / whole.meta.id, reader) for whole in wholes.values()]


def _choose(whole: Whole, reader: _Reader) -> None:
    """Choose the episode of each instance; a finished one before one that ended in an error.

    Raises:
        MixrouteError: two finished episodes of one instance differ, or a line is corrupt.
    """
    for part in whole.parts:
        for episode, line in part.episodes():
            name, failed = episode.instance, episode.end == "error"
            if name not in whole.chosen or (name in whole.failed and not failed):
                whole.chosen[name] = part, line
                (whole.failed.add if failed else whole.failed.discard)(name)
            elif not failed and reader.read(line) != reader.read(whole.chosen[name][1]):
                raise MixrouteError(
                    f"{whole.chosen[name][1].path} and {line.path} have different episodes of instance {quoted(name)}: "
                    "it was played twice, with different results; leave one of the folders out, or delete the line"
                )


def _write(whole: Whole, folder: Path, reader: _Reader) -> Merged:
    if timed_parts := [part.folder for part in whole.parts if part.folder != folder and (part.folder / CLOCK).exists()]:
        log.warning("%s: the seconds of mixroute time are left out: time the merged run", timed_parts[0])
    seen = next((part.seen for part in whole.parts if part.seen is not None), None)
    meta = _with_machines(whole)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / RUN, encode_meta(meta, folder / RUN))
    if seen is not None:
        write_seen(folder, seen)
    timings = {part.folder: part.timings() for part in whole.parts}
    timed = {name: timings[part.folder].get(name) for name, (part, _) in whole.chosen.items()}
    # An episode always has its times: a kill between the two leaves times without an episode, which are passed over.
    _copy({name: line for name, line in timed.items() if line is not None}, folder / TIMINGS, reader)
    _copy({name: line for name, (_, line) in whole.chosen.items()}, folder / EPISODES, reader)
    missing = tuple(name for name in meta.instances if name not in whole.chosen)
    return Merged(folder, meta, missing, len(whole.failed))


def _with_machines(whole: Whole) -> RunMeta:
    """The run's ``run.json``, with what played which episodes where that is not all the same."""
    kinds = {digest: kind for part in whole.parts for digest, kind in part.machines().items()}
    if len(kinds) == 1:
        return whole.meta
    instances: dict[str, list[str]] = {digest: [] for digest in kinds}
    for name, (part, _) in sorted(whole.chosen.items()):
        instances[part.machine_of(name)].append(name)
    played_on = [{**kind, "instances": instances[digest]} for digest, kind in kinds.items()]
    return msgspec.structs.replace(whole.meta, provenance={**whole.meta.provenance, PLAYED_ON: played_on})


def _copy(lines: Mapping[str, Line], path: Path, reader: _Reader) -> None:
    with replacing(path) as handle:
        for name in sorted(lines):
            handle.write(reader.read(lines[name]))


class _Reader:
    """Reads lines of many files, a few of which are open at once."""

    def __init__(self) -> None:
        self._open: OrderedDict[Path, int] = OrderedDict()

    def read(self, line: Line) -> bytes:
        """The bytes of a line.

        Raises:
            MixrouteError: the file was replaced since the line was found.
        """
        number = self._open.pop(line.path, None)
        number = os.open(line.path, os.O_RDONLY) if number is None else number
        self._open[line.path] = number
        if len(self._open) > _OPEN_FILES:
            os.close(self._open.popitem(last=False)[1])
        if os.fstat(number).st_ino != line.inode:
            raise MixrouteError(f"{line.path} was replaced while it was merged: give the same command again")
        return os.pread(number, line.size, line.start)

    def __del__(self) -> None:
        for number in self._open.values():
            os.close(number)
