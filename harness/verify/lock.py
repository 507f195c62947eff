"""Lock file of the published results, ``results/lock.json``.

It names each group that is published, the model cards and instances that its costs and successes rest on, and its
reference rows: those of always-high, always-low and random, which every other row is compared with. Maintainers write
it from entries of their own; a submission leaves it as it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.board.suites import entries_of
from harness.errors import MixrouteError
from harness.files import Record, content_hash, write_atomically
from harness.json_files import read_json
from harness.provenance import hardware_of
from harness.records import RunMeta
from harness.sharing import stated_sharing
from harness.suite import Suite, load_suite
from harness.traces.clock import clock_bytes, read_clocked, timed_on
from harness.traces.evidence import entry_digest
from harness.traces.siblings import sha256
from harness.traces.store import TIMINGS, plain_or_xz, read_bytes, read_meta
from harness.verify.rates import TokenRates

LOCK = "lock.json"
REFERENCES = ("always-high", "always-low", "random")
"""Routers whose rows are the maintainers'."""
CARD = ("bits", "fingerprint", "parameters", "weight_bytes")
"""Facts of a model that costs depend on; the others say where its weights lie."""


class LockedGroup(Record, frozen=True):
    """A group that is published, in one sample of its split."""

    group: str
    limit: int | None
    task: str
    split: str
    pool: str
    suites: list[str]
    """Shipped suites that play it."""
    conditions: dict[str, Any]
    """What a group's hash covers, in words: the protocol, the task's arguments, mode and temperature."""
    models: dict[str, dict[str, Any]]
    instances: int
    instances_sha256: str
    references: dict[str, str]
    """Digest of each entry of a reference row, by the entry's name."""
    rates: dict[str, dict[str, float]]
    """Smallest rate of an entry (``harness.verify.rates``), by machine and model."""
    reference_times: dict[str, str] = msgspec.field(default_factory=dict)
    """Hash of the measured times of each reference row's entry, which no digest covers; others' seconds are relative to
    them. Empty in older lock files."""


class Accepted(Record, frozen=True):
    """A check that is known to be impossible for a router or a pool."""

    check: str
    reason: str
    """Part of the reason that ``mixroute verify`` gives."""
    router: str = ""
    pool: str = ""
    digest: str = ""
    """The digest of one entry, where the check is impossible for it alone."""


class Lock(Record, frozen=True):
    """The content of the lock file."""

    groups: list[LockedGroup]
    unchecked: list[Accepted]

    def group_of(self, meta: RunMeta) -> LockedGroup | None:
        """The locked group of a run; None if its group is not published."""
        return next((one for one in self.groups if (one.group, one.limit) == (meta.group, meta.limit)), None)


def read_lock(path: Path) -> Lock:
    """Read a lock file.

    Raises:
        MixrouteError: it is missing or not valid.
    """
    return read_json(path, Lock, "restore it, and publish beside the lock file of the repository")


def write_lock(path: Path, folders: Iterable[Path]) -> None:
    """Write the lock file anew from entries that the maintainers have made; what may stay unchecked is kept.

    Raises:
        MixrouteError: no shipped suite plays one of them, or two entries of a group have other models or instances.
    """
    kept = read_lock(path).unchecked if path.exists() else []
    groups: defaultdict[tuple[str, int | None], list[Path]] = defaultdict(list)
    metas = {folder: read_meta(folder) for folder in folders}
    for folder, meta in metas.items():
        groups[meta.group, meta.limit].append(folder)
    locked = [_locked({folder: metas[folder] for folder in several}) for several in groups.values()]
    locked.sort(key=lambda one: (one.task, one.split, one.pool, one.limit or 0, one.group))
    write_atomically(path, msgspec.json.format(msgspec.json.encode(Lock(locked, kept)), indent=1) + b"\n")


def _locked(metas: Mapping[Path, RunMeta]) -> LockedGroup:
    first = next(iter(metas.values()))
    suites: set[str] = set()
    for folder, meta in metas.items():
        if (cards_of(meta), instances_of(meta)) != (cards_of(first), instances_of(first)):
            raise MixrouteError(f"{folder}: other models or instances than {next(iter(metas))}: run one of them again")
        planned = {suite.name for suite, _ in entries_of(meta)}
        if not planned:
            raise MixrouteError(f"{folder}: no shipped suite plays it: run a suite of `mixroute list`")
        suites |= planned
    return LockedGroup(
        group=first.group,
        limit=first.limit,
        task=first.task,
        split=first.split,
        pool=first.pool,
        suites=sorted(suites),
        conditions=conditions_of(first),
        models=cards_of(first),
        instances=len(first.instances),
        instances_sha256=instances_of(first),
        references={folder.name: entry_digest(folder) for folder in _references(metas)},
        rates=_smallest_rates(metas),
        reference_times={folder.name: times_hash(folder) for folder in _references(metas)},
    )


def times_hash(folder: Path) -> str:
    """SHA-256 (hex) of the measured times of an entry, its clock included.

    Raises:
        MixrouteError: they are missing or damaged.
    """
    return sha256(read_bytes(plain_or_xz(folder / TIMINGS)) + clock_bytes(folder))


def _smallest_rates(metas: Mapping[Path, RunMeta]) -> dict[str, dict[str, float]]:
    smallest: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for folder, meta in metas.items():
        known = smallest[hardware_of(timed_on(folder, meta))]
        rates = TokenRates()
        for episode, timing, clocked in read_clocked(folder):
            rates.add(episode, timing, clocked)
        for model, rate in rates.means().items():
            known[model] = float(f"{min(rate, known.get(model, rate)):.3g}")
    return {machine: dict(sorted(rates.items())) for machine, rates in sorted(smallest.items())}


def _references(metas: Mapping[Path, RunMeta]) -> Sequence[Path]:
    return sorted(folder for folder, meta in metas.items() if meta.router in REFERENCES)


def suites_of(locked: LockedGroup | None) -> list[Suite]:
    """Shipped suites that play a group."""
    return [load_suite(name) for name in locked.suites] if locked is not None else []


def conditions_of(meta: RunMeta) -> dict[str, Any]:
    """What the hash of a run's group covers beside its models."""
    config = meta.config
    named = {key: config.get(key) for key in ("mode", "task_args", "temperature")}
    return {**named, "protocol": dict(sorted(meta.protocol.items())), **stated_sharing(config)}


def cards_of(meta: RunMeta) -> dict[str, dict[str, Any]]:
    """The facts of a run's models that costs depend on."""
    return {name: {key: card.get(key) for key in CARD} for name, card in sorted(meta.models.items())}


def instances_of(meta: RunMeta) -> str:
    """SHA-256 (hex) of the names of a run's instances, in any order."""
    return content_hash(sorted(meta.instances))
