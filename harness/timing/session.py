"""What a session of ``mixroute time`` measures, drawn before it begins and kept until it is over."""

from __future__ import annotations

import logging
import secrets
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.board.runs import RunsAcrossSeeds, runs_by_router
from harness.board.section import references_of, section_of
from harness.errors import MixrouteError
from harness.files import Record
from harness.provenance import provenance
from harness.seeding import seed_for
from harness.suite import Mode
from harness.text import quoted
from harness.traces.read import Run, read_run
from harness.traces.store import find_runs

log = logging.getLogger(__name__)

SCHEMA = 1


class Settings(Record, frozen=True):
    """What the user asks for."""

    concurrency: int
    """Episodes at once: the size of a block."""
    episodes: int
    """Most instances of a section that are replayed."""
    passes: int
    seed: int
    only: list[str]
    """Labels of the rows to time; those that have no clock yet if empty."""


class TimedRun(Record, frozen=True):
    """A run of a row, and the instances that are replayed in it."""

    folder: str
    hash: str
    instances: list[str]

    def below(self, root: Path) -> Path:
        """Where it lies: in ``root``, or ``root`` itself, if that is a run."""
        return root if root.name == self.folder and not (root / self.folder).exists() else root / self.folder


class TimedRow(Record, frozen=True):
    """A row of a section: the runs of a router."""

    label: str
    runs: list[TimedRun]
    reference: bool
    """Whether it is the always-high that the others are compared with."""
    kept: bool
    """Whether its clock is written; else it is replayed for the others alone, and keeps the clock that it has."""


class TimedSection(Record, frozen=True):
    """Rows that are interleaved."""

    name: str
    pool: str
    """Name of a shipped pool, or a file."""
    mode: Mode
    blocks: list[list[str]]
    """Instances that are replayed at once, in the order in which they were drawn."""
    rows: list[TimedRow]


class Session(Record, frozen=True):
    """The content of ``time.json``."""

    schema: int
    session: str
    settings: Settings
    provenance: dict[str, Any]
    sections: list[TimedSection]

    @property
    def machine(self) -> tuple[Any, ...]:
        """What must stay the same until the session is over."""
        return machine_of(self.provenance)


def machine_of(recorded: dict[str, Any]) -> tuple[Any, ...]:
    """The part of a provenance that seconds depend on."""
    hardware = recorded.get("hardware") or {}
    return (*(hardware.get(key) for key in ("cpu", "cores", "threads", "gpus")), recorded.get("packages"))


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the folder that can be replayed."""

    runs: RunsAcrossSeeds
    playable: dict[str, list[Run]]
    """Runs with a finished episode of an instance that no error ended, by instance."""
    reference: bool
    kept: bool


def draw_session(folder: Path, settings: Settings) -> Session:
    """Draw what to measure of the runs in ``folder``.

    Raises:
        MixrouteError: there is no run that can be timed, a label is unknown, or rows share no instance.
    """
    runs = [read_run(one) for one in find_runs(folder)]
    labels = {run.meta.label for run in runs}
    if unknown := sorted(set(settings.only) - labels):
        raise MixrouteError(f"--only {quoted(unknown[0])} is no row of {folder}: it has {', '.join(sorted(labels))}")
    by_section: defaultdict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_section[str(section_of(run.meta))].append(run)
    sections = [one for key in sorted(by_section) if (one := _section(by_section[key], settings))]
    if not sections:
        raise MixrouteError(f"{folder} has no finished row without a clock: --only ROW times one again")
    return Session(SCHEMA, secrets.token_hex(8), settings, provenance(), sections)


def _section(runs: Sequence[Run], settings: Settings) -> TimedSection | None:
    meta = runs[0].meta
    name = f"{meta.task}/{meta.split}, pool {meta.pool}"
    routers = [one for one in runs_by_router(runs) if _can_be_timed(one, name)]
    references = references_of(routers)
    rows = []
    for one in routers:
        asked = one.meta.label in settings.only if settings.only else not any(run.clock for run in one.runs)
        if asked or one in references[:1]:
            kept = asked or not any(run.clock for run in one.runs)
            rows.append(_Row(one, _playable(one), one in references[:1], kept))
    if not any(row.kept for row in rows):
        return None
    if not references:
        log.warning("%s: no finished always-high in the folder, so that seconds will be relative to nothing", name)
    blocks = _blocks(rows, settings, name)
    made = [TimedRow(row.runs.meta.label, _runs(row, blocks, settings.seed), row.reference, row.kept) for row in rows]
    pool = str(meta.provenance.get("pool_file") or meta.pool)
    mode: Mode = "throughput" if meta.config.get("mode") == "throughput" else "deterministic"
    return TimedSection(name, pool, mode, blocks, made)


def _can_be_timed(row: RunsAcrossSeeds, section: str) -> bool:
    why = ""
    if not row.complete:
        why = f"{len(row.played)} of {row.planned} episodes are finished"
    elif any(one.untold for one in row.played):
        why = "an endpoint did not tell how many tokens its calls took"
    if why:
        log.warning("%s: row '%s' is not timed: %s", section, row.meta.label, why)
    return not why


def _playable(row: RunsAcrossSeeds) -> dict[str, list[Run]]:
    found: defaultdict[str, list[Run]] = defaultdict(list)
    for run in row.runs:
        for played in run.played:
            if not played.error and played.steps:
                found[played.instance].append(run)
    return dict(found)


def _blocks(rows: Iterable[_Row], settings: Settings, section: str) -> list[list[str]]:
    """Instances that all rows have, drawn by the seed, in blocks of those that are replayed at once."""
    shared: set[str] | None = None
    for row in rows:
        left = set(row.playable) if shared is None else shared & set(row.playable)
        if not left:
            raise MixrouteError(
                f"{section}: row '{row.runs.meta.label}' has no instance in common with the others whose episode did "
                "not end in an error: name the rows to time with --only"
            )
        shared = left
    drawn = sorted(shared or (), key=lambda instance: seed_for("time", settings.seed, instance))[: settings.episodes]
    return [drawn[at : at + settings.concurrency] for at in range(0, len(drawn), settings.concurrency)]


def _runs(row: _Row, blocks: Collection[Sequence[str]], seed: int) -> list[TimedRun]:
    """The runs of a row, each with the instances that are replayed in it: one of the row's seeds is drawn for each."""
    instances: dict[str, list[str]] = {run.meta.hash: [] for run in row.runs.runs}
    for instance in (one for block in blocks for one in block):
        several = row.playable[instance]
        drawn = several[seed_for("time", seed, row.runs.meta.label, instance) % len(several)]
        instances[drawn.meta.hash].append(instance)
    return [TimedRun(run.folder.name, run.meta.hash, instances[run.meta.hash]) for run in row.runs.runs]
