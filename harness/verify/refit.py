"""Arguments that a router chose on development games, chosen once more from the published calibration runs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from math import isclose
from pathlib import Path
from typing import Any

from harness.board.suites import same_sample
from harness.contracts import Calibrated
from harness.errors import MixrouteError
from harness.plugins import open_router
from harness.records import RunMeta
from harness.suite import RunConfig
from harness.traces.store import find_runs, read_episodes, read_meta
from harness.verify.lock import Lock, cards_of, conditions_of, suites_of
from harness.verify.report import Check

CLOSE = 1e-4
"""Relative difference of a threshold that the rounding of published statistics explains."""


class Refit:
    """The calibration runs in a folder.

    Args:
        folder: The folder; it may be missing where no router is calibrated.
        lock: The lock file, which names the suites that play a group, and so what they calibrate on.
    """

    def __init__(self, folder: Path, lock: Lock) -> None:
        self._folder = folder
        self._lock = lock

    @cached_property
    def runs(self) -> Mapping[Path, RunMeta]:
        """What each calibration run recorded, by its folder."""
        return {run: read_meta(run) for run in find_runs(self._folder)} if self._folder.exists() else {}

    def check(self, meta: RunMeta, config: RunConfig) -> Check:
        """Check a run's fitted arguments. Its names were verified: the router is opened."""
        check = Check("thresholds follow from the calibration run")
        try:
            router = open_router(config.router, **config.router_args)
        except MixrouteError:
            return check  # another check says so
        if not isinstance(router, Calibrated):
            check.expect("run.json", "fitted", meta.fitted, {})
            return check
        try:
            fits = [dict(router.fit(()))]  # nothing is open
        except MixrouteError:
            fits = [dict(router.fit(read_episodes(run))) for run in self._calibrations(meta, router.probe)]
        if not fits:
            probe = f"of '{router.probe}' with seed {meta.seed} on the calibration games of its suite"
            check.reason = f"no run {probe} is published: pack it to {self._folder.name}"
        elif not any(_close(meta.fitted, fit) for fit in fits):
            check.problem("run.json", f"fitted is {meta.fitted}, the calibration run gives {fits[0]}")
        return check

    def _calibrations(self, meta: RunMeta, probe: str) -> list[Path]:
        """The calibration runs of a run: its conditions, models and seed, on games that its suite calibrates on."""
        samples = {
            (task.calibration.split, task.calibration.limit)
            for suite in suites_of(self._lock.group_of(meta))
            for task in suite.tasks
            if task.calibration and (task.task, task.split) == (meta.task, meta.split)
        }
        return [
            folder
            for folder, run in self.runs.items()
            if any(run.split == split and same_sample(limit, run) for split, limit in samples)
            and _conditions(run) == _conditions(meta)
            and (run.router, run.seed) == (probe, meta.seed)
        ]  # fmt: skip


def _conditions(meta: RunMeta) -> tuple[str, str, dict[str, Any], dict[str, dict[str, Any]]]:
    """What a run shares with its calibration run."""
    conditions = conditions_of(meta)
    del conditions["protocol"]  # it may tell of the split
    return meta.task, meta.pool, conditions, cards_of(meta)


def _close(found: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    """Whether fitted arguments are equal up to rounding."""
    return found.keys() == expected.keys() and all(
        isclose(found[key], value, rel_tol=CLOSE) if isinstance(value, float) else found[key] == value
        for key, value in expected.items()
    )
