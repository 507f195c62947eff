"""Checks of a published row, which need neither a task nor a model: against the lock file, the shipped suites and the
files of its entries. See docs/threat-model.md for what each of them prevents.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from harness.board.suites import entries_of
from harness.data import HIGH
from harness.errors import MixrouteError
from harness.provenance import hardware_of
from harness.records import RunMeta
from harness.traces.clock import CLOCK, LINES, read_clock
from harness.traces.contamination import SEEN
from harness.traces.evidence import SELF_REPORTED, entry_digest
from harness.traces.siblings import COMPLETIONS, PACK
from harness.traces.store import EPISODES, RUN, TIMINGS, read_meta
from harness.verify.clocks import reference_rate
from harness.verify.lock import (
    REFERENCES,
    Lock,
    LockedGroup,
    cards_of,
    conditions_of,
    instances_of,
    suites_of,
    times_hash,
)
from harness.verify.rates import SMALLEST
from harness.verify.report import Check, EntryVerdict

FILES = frozenset({RUN, PACK, COMPLETIONS, SEEN, CLOCK, *(f"{name}.xz" for name in (EPISODES, TIMINGS, LINES))})
"""Files that a published entry may have."""


def check_files(folder: Path) -> Check:
    """Look for files that are none of an entry."""
    check = Check("its folder holds the files of an entry and nothing else")
    if folder.is_symlink():
        check.problem(folder.name, "it is a link")
    for path in sorted(folder.iterdir()):
        if path.name not in FILES or path.is_symlink() or not path.is_file():
            check.problem(path.name, "it is no file of an entry: pack the run with `mixroute pack`")
    if (folder / f"{LINES}.xz").exists() and not (folder / CLOCK).exists():
        check.problem(CLOCK, f"it is missing beside {LINES}.xz: pack the run again, or delete that")
    return check


def check_group(meta: RunMeta, locked: LockedGroup | None, lock: Lock) -> Check:
    """Compare a run's group, instances and model cards with those of the lock file."""
    check = Check("it was played as a shipped suite asks, with the published models")
    if locked is None:
        check.problem("run.json", f"no published suite has its group: {_what_differs(meta, lock)}")
        return check
    stated = (meta.task, meta.split, meta.pool)
    check.expect("run.json", "task, split and pool", stated, (locked.task, locked.split, locked.pool))
    check.expect("run.json", "models", cards_of(meta), locked.models)
    for name, card in meta.models.items():
        check.expect("run.json", f"the name of model '{name}'", card.get("model"), name)
    if (len(meta.instances), instances_of(meta)) != (locked.instances, locked.instances_sha256):
        check.problem("run.json", f"its instances are not the {locked.instances} of the suite")
    return check


def _what_differs(meta: RunMeta, lock: Lock) -> str:
    """How a run of an unknown group differs from the published groups of its task, split and pool."""
    near = [one for one in lock.groups if (one.task, one.split, one.pool) == (meta.task, meta.split, meta.pool)]
    if not near:
        return f"none plays '{meta.task}', split '{meta.split}', with pool '{meta.pool}'"
    found = []
    for one in near:
        ours, theirs = conditions_of(meta), one.conditions
        keys = sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))
        keys += ["models"] * (cards_of(meta) != one.models) + ["limit"] * (meta.limit != one.limit)
        found.append(f"{', '.join(keys) or 'hash'} (of suite {', '.join(one.suites)})")
    return f"other {' or other '.join(found)}"


_Row = tuple[str, str, str]


def _row(meta: RunMeta) -> _Row:
    """What runs of one row share."""
    arguments = msgspec.json.encode(meta.config.get("router_args"), order="deterministic").decode()
    return f"{meta.group} {meta.limit}", meta.router, arguments


def seeds_by_row(metas: Iterable[RunMeta]) -> dict[_Row, set[int]]:
    """The seeds of the runs of each row."""
    seeds: defaultdict[_Row, set[int]] = defaultdict(set)
    for meta in metas:
        seeds[_row(meta)].add(meta.seed)
    return seeds


def check_row(meta: RunMeta, locked: LockedGroup | None, seeds: Mapping[_Row, set[int]]) -> Check:
    """Compare label, curve and seeds with the suite's; a router that no suite names takes the seeds of the suite."""
    check = Check("label, curve and seeds are those of the suite")
    planned = list(entries_of(meta))
    labels = sorted({entry.name for _, entry in planned})
    curves = sorted({entry.curve for _, entry in planned if entry.name == meta.label})
    if planned and meta.label not in labels:
        check.problem("run.json", f"label is {meta.label!r}, the suite has {', '.join(map(repr, labels))}")
    elif meta.curve not in (curves or [""]):
        check.problem("run.json", f"curve is {meta.curve!r}, the suite has {', '.join(map(repr, curves)) or 'none'}")
    wanted = [set(entry.seeds or suite.seeds) for suite, entry in planned]
    wanted = wanted or [set(suite.seeds) for suite in suites_of(locked)]
    found = seeds[_row(meta)]
    # A seed that no suite plans is a fault of its own entry alone: nobody can spoil another's row with one.
    if wanted and not any(meta.seed in seeds and seeds <= found for seeds in wanted):
        check.problem("run.json", f"the row has seeds {sorted(found)}, its suite plans {sorted(wanted[0])}")
    return check


def check_reference(folder: Path, meta: RunMeta, locked: LockedGroup | None) -> Check:
    """Compare a row that others are compared with, with the one of the lock file."""
    check = Check("reference rows are those of the lock file")
    if meta.router in REFERENCES and locked is not None:
        known = locked.references.get(folder.name)
        if known is None:
            check.problem("run.json", f"rows of {', '.join(REFERENCES)} are the maintainers': leave the entry out")
        elif not _is_locked(folder, locked):
            check.problem("", "its content, or its measured times, are not the locked ones: restore it")
    return check


def _is_locked(folder: Path, locked: LockedGroup) -> bool:
    try:
        times = locked.reference_times.get(folder.name)
        return entry_digest(folder) == locked.references[folder.name] and times in (None, times_hash(folder))
    except MixrouteError:
        return False


def check_seconds(folder: Path, verdict: EntryVerdict, lock: Lock, published: Mapping[str, Path]) -> Check:
    """Compare measured seconds with those of the published entries of the group and machine.

    Args:
        folder: The entry.
        verdict: Its verdict, which has its seconds a token.
        lock: The lock file.
        published: All published entries by the hash of their runs. A reference of a clock that is none of them is not
            known, and none may be slow, as its row would look fast.
    """
    check = Check("measured seconds are as long as the published ones of the machine")
    try:
        meta = read_meta(folder)
        clock = read_clock(folder, meta)
    except MixrouteError:
        return check  # verification says so
    machine, locked = hardware_of((meta if clock is None else clock.meta).provenance), lock.group_of(meta)
    known = locked.rates.get(machine, {}) if locked else {}
    for model, rate in verdict.rates.items():
        if model not in known:
            check.reason = f"{SELF_REPORTED}: no published entry timed model '{model}' on {machine[:100]}"
        elif rate < SMALLEST * known[model]:
            check.problem(
                "timings", f"'{model}' takes {rate:.2g} s a token, the fastest published {known[model]:.2g} s"
            )
    if clock is not None and set(clock.meta.reference_runs) <= set(published):
        slow = reference_rate(clock, [published[one] for one in clock.meta.reference_runs])
        if slow is not None and HIGH in known and slow > known[HIGH] / SMALLEST:
            check.problem(
                CLOCK, f"its always-high takes {slow:.2g} s a token, the fastest published {known[HIGH]:.2g} s"
            )
    elif clock is not None:
        check.reason = f"{SELF_REPORTED}: the always-high that was timed beside it is not published"
    return check
