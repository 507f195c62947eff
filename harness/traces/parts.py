"""Parts of a run that was played in several folders, such as shards, and what keeps them from being one run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import MixrouteError
from harness.files import content_hash
from harness.lines import R
from harness.provenance import differences, kind_of
from harness.records import Episode, RunMeta
from harness.text import quoted
from harness.traces.contamination import SEEN, read_seen
from harness.traces.index import Named, placed_lines
from harness.traces.store import CALIBRATION, EPISODES, RUN, TIMINGS, find_runs, read_meta

PLAYED_ON = "played_on"
"""Key of the provenance that lists versions and machines of a run that several kinds of them played, with the instances
of each; only there where they differ."""


@dataclass(frozen=True, slots=True)
class Line:
    """Where a line of a part lies."""

    path: Path
    inode: int
    """The file that the path named when the line was found."""
    start: int
    size: int


@dataclass(frozen=True)
class Part:
    """A folder with episodes of a run."""

    folder: Path
    meta: RunMeta
    source: Path
    """The folder of runs that it lies in."""
    place: str
    """Its folder's place there: empty, or that of calibration runs."""

    @property
    def key(self) -> tuple[str, str]:
        """Equal for the parts of one run."""
        return self.place, self.meta.hash

    def machines(self) -> dict[str, dict[str, Any]]:
        """Versions and machine of each kind that played it, by their hash."""
        told = self.meta.provenance
        return {content_hash(one): one for one in map(kind_of, told.get(PLAYED_ON) or [told])}

    def machine_of(self, instance: str) -> str:
        """The hash of versions and machine that played an instance."""
        return self._machine_of.get(instance) or next(iter(self.machines()))

    @cached_property
    def _machine_of(self) -> dict[str, str]:
        """Those of a run that several kinds played."""
        listed = self.meta.provenance.get(PLAYED_ON) or []
        return {instance: content_hash(kind_of(one)) for one in listed for instance in one["instances"]}

    def episodes(self) -> Iterator[tuple[Episode, Line]]:
        """Its finished episodes, each with the place of its line.

        Raises:
            MixrouteError: it is a published entry, a line is corrupt, or an episode is of another run.
        """
        path, planned = self.folder / EPISODES, set(self.meta.instances)
        if path.with_name(f"{EPISODES}.xz").exists() and not path.exists():
            raise MixrouteError(f"{self.folder} is a published entry, which is whole: leave it out")
        for episode, line in _lines(path, Episode):
            if (episode.run, episode.seed) != (self.meta.hash, self.meta.seed):
                raise MixrouteError(f"{path} holds episodes of another run: restore the file, or leave the folder out")
            # Which games a suite calibrates on depends on its routers, and a folder may hold those of several suites.
            if episode.instance not in planned and self.place != CALIBRATION:
                raise MixrouteError(
                    f"{path}: instance {quoted(episode.instance)} is not among the 'instances' of {RUN}: restore the "
                    "file that was changed, or delete the line"
                )
            yield episode, line

    def timings(self) -> dict[str, Line]:
        """The line of the times of each instance: the last one counts."""
        return {named.instance: line for named, line in _lines(self.folder / TIMINGS, Named)}

    @cached_property
    def seen(self) -> frozenset[str] | None:
        """What its models and router were trained on; None where that is not written yet."""
        return read_seen(self.folder) if (self.folder / SEEN).exists() else None


def _lines(path: Path, kind: type[R]) -> Iterator[tuple[R, Line]]:
    """The records of a file, each with its line; none where there is no file."""
    inode = path.stat().st_ino if path.exists() else 0
    for record, start, size in placed_lines(path, kind):
        yield record, Line(path, inode, start, size)


@dataclass(slots=True)
class Whole:
    """A run and its parts."""

    parts: list[Part]
    chosen: dict[str, tuple[Part, Line]] = field(default_factory=dict)
    """The line of each episode."""
    failed: set[str] = field(default_factory=set)
    """Those of them that ended in an error."""

    @property
    def meta(self) -> RunMeta:
        """What its parts say alike; the provenance is that of the first."""
        return self.parts[0].meta


def find_parts(sources: Sequence[Path]) -> dict[tuple[str, str], Whole]:
    """The runs in some folders of runs, with their calibration runs, by ``Part.key``.

    Raises:
        MixrouteError: a folder holds no run, or parts of a run do not fit together.
    """
    found: dict[tuple[str, str], Whole] = {}
    for source in sources:
        calibrations = source / CALIBRATION
        folders = [(folder, "") for folder in find_runs(source)]
        if calibrations.is_dir():
            folders += [(path.parent, CALIBRATION) for path in sorted(calibrations.glob(f"*/{RUN}"))]
        for folder, place in folders:
            part = Part(folder, read_meta(folder), source, place)
            found.setdefault(part.key, Whole([])).parts.append(part)
    for whole in found.values():
        for part in whole.parts[1:]:
            _check_alike(whole.parts[0], part)
    _check_fitted_alike(found.values())
    return found


def _check_alike(first: Part, other: Part) -> None:
    """Check that two parts say the same of their run, provenance apart.

    Raises:
        MixrouteError: they do not.
    """
    ours, theirs = _comparable(first.meta), _comparable(other.meta)
    differing = [name for name in RunMeta.__struct_fields__ if getattr(ours, name) != getattr(theirs, name)]
    if differing:
        name = differing[0]
        raise MixrouteError(
            f"{first.folder / RUN} and {other.folder / RUN} are of one run (hash {ours.hash[:12]}) and differ in "
            f"'{name}' ({quoted(getattr(ours, name))}, {quoted(getattr(theirs, name))}): they were not played by one "
            "suite; leave one of the folders out"
        )
    if _router(first.meta) != _router(other.meta):
        raise MixrouteError(
            f"the source of router '{ours.router}' differs between {first.folder} and {other.folder} "
            "(provenance.router.sha256): play one of them anew, or leave it out"
        )
    if None not in (first.seen, other.seen) and first.seen != other.seen:
        raise MixrouteError(
            f"{first.folder / SEEN} and {other.folder / SEEN} differ: what models and router were trained on is one "
            "list for all parts of a run; restore the file that was changed"
        )


def _comparable(meta: RunMeta) -> RunMeta:
    """``meta`` without what may differ: the provenance, and how files are spelled."""
    return msgspec.structs.replace(meta, provenance={}, config=meta.settings)


def _router(meta: RunMeta) -> object:
    return (meta.provenance.get("router") or {}).get("sha256")


def _check_fitted_alike(wholes: Iterable[Whole]) -> None:
    """Check that no router was calibrated to one threshold in some folders and to another one in others.

    Raises:
        MixrouteError: one was. A folder that holds both of its runs keeps them.
    """
    runs: dict[str, list[Whole]] = {}
    for whole in wholes:
        meta = whole.meta
        name = content_hash([whole.parts[0].place, meta.group, meta.label, meta.curve, meta.settings])
        runs.setdefault(name, []).append(whole)
    for alike in runs.values():
        for one in alike[1:]:
            first = alike[0]
            if not {part.source for part in first.parts} & {part.source for part in one.parts}:
                (ours, here), (theirs, there) = ((run.meta.fitted, run.parts[0].folder) for run in (first, one))
                raise MixrouteError(
                    f"router '{one.meta.label}' was calibrated to {quoted(ours)} in {here} and to {quoted(theirs)} in "
                    f"{there}: its development episodes differ; copy the folder '{CALIBRATION}' of one shard to all "
                    "others before they play, and play these anew"
                )


def check_machines(parts: Sequence[Part]) -> None:
    """Check that one version on machines of one kind played all parts.

    Raises:
        MixrouteError: several did.
    """
    found = [(part, kind) for part in parts for kind in part.machines().values()]
    for part, kind in found[1:]:
        first, ours = found[0]
        for what, one, two in differences(ours, kind):
            raise MixrouteError(
                f"{first.folder} and {part.folder} were played with different {what} ({quoted(one)}, {quoted(two)}), "
                "and results may differ: play all parts with one version on machines of one kind, or give --mixed, "
                f"which records in {RUN} what played which episodes"
            )
