"""Shipped suites as the board's authority on published entries, whose labels, curves and seeds they give."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from msgspec import structs

from harness import registry
from harness.config import shipped_names
from harness.errors import MixrouteError
from harness.plugins import complete_arguments
from harness.records import RunMeta
from harness.registry import Registry
from harness.suite import SHIPPED, RouterEntry, Suite, TaskEntry, load_suite
from harness.text import quoted
from harness.traces.read import Run
from harness.traces.siblings import PACK


@dataclass(frozen=True, slots=True)
class JudgedRun:
    """A run with the label and curve that its suite gives."""

    run: Run
    planned: bool
    """Whether its seed is among those of its suite; True where no shipped suite has it."""
    notes: tuple[str, ...] = ()


def judge(run: Run) -> JudgedRun:
    """The run as the shipped suites name it. What is no packed entry is taken as it is: it is the reader's own."""
    if not (run.folder / PACK).exists():
        return JudgedRun(run, True)
    meta = run.meta
    found = list(entries_of(meta))
    if not found:
        if meta.curve not in _curves():
            return JudgedRun(run, True)
        note = f"curve {quoted(meta.curve)} is a shipped suite's, which does not plan this run: no point of it"
        return JudgedRun(replace(run, meta=structs.replace(meta, curve="")), True, (note,))
    # Several suites may play a run; its own label decides between their names for it.
    same = [(suite, entry) for suite, entry in found if entry.name == meta.label] or found
    label = same[0][1].name
    curve = next((entry.curve for _, entry in same if entry.curve), "")
    planned = any(meta.seed in (entry.seeds or suite.seeds) for suite, entry in same if entry.name == label)
    names = ", ".join(sorted({suite.name for suite, _ in same}))
    notes = []
    if label != meta.label:
        notes.append(f"labelled as in suite {names}, not {quoted(meta.label)}")
    if meta.curve not in ("", curve):
        notes.append(f"curve {quoted(meta.curve)} is not the one of suite {names}: ignored")
    if not planned:
        notes.append(
            f"seed {meta.seed} is not one of suite {names}: a row of its own, with which no other is compared; kept "
            "off the Pareto front"
        )
    return JudgedRun(replace(run, meta=structs.replace(meta, label=label, curve=curve)), planned, tuple(notes))


def tasks_of(meta: RunMeta) -> Iterator[tuple[Suite, TaskEntry]]:
    """The shipped suites that play a run's task and split with its arguments, on whatever sample."""
    config = meta.config
    for suite in _suites():
        for task in suite.tasks:
            if (task.task, task.split) == (config.get("task"), meta.split) and _same(
                registry.tasks, task.task, task.args, config.get("task_args", {})
            ):
                yield suite, task


def entries_of(meta: RunMeta) -> Iterator[tuple[Suite, RouterEntry]]:
    """The entries of shipped suites that plan a run, whatever its pool and seed."""
    for suite, task in tasks_of(meta):
        if not same_sample(task.limit, meta):
            continue
        for entry in suite.routers_of(task.task):
            if entry.router == meta.router and _same(
                registry.routers, entry.router, entry.args, meta.config.get("router_args", {})
            ):
                yield suite, entry


def same_sample(limit: int | None, meta: RunMeta) -> bool:
    """Whether a suite's limit gives a run's instances. One that takes in a whole split is recorded as none."""
    return limit == meta.limit or (meta.limit is None and (limit or 0) >= len(meta.instances))


def _same(kind: Registry, name: str, given: Mapping[str, Any], recorded: Mapping[str, Any]) -> bool:
    """Whether a suite's arguments are those that a run recorded, which are complete."""
    if any(key not in recorded or recorded[key] != value for key, value in given.items()):
        return False
    if given.keys() == recorded.keys():
        return True  # without the plug-in's import, which may take seconds
    try:
        whole = _completed(kind, name, json.dumps(given, sort_keys=True))
    except MixrouteError:
        return False
    return all(key in whole and whole[key] == value for key, value in recorded.items())


@cache
def _completed(kind: Registry, name: str, given: str) -> dict[str, Any]:
    return complete_arguments(kind, name, json.loads(given))


@cache
def _suites() -> tuple[Suite, ...]:
    return tuple(load_suite(name) for name in shipped_names(SHIPPED))


@cache
def _curves() -> frozenset[str]:
    """Names of the curves of shipped suites."""
    return frozenset(entry.curve for suite in _suites() for entry in suite.routers if entry.curve)
