"""Executor ``ray``: workers on the nodes of a Ray cluster play, and this process hands out instances and writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from harness.data import Instance
from harness.engine.answers import protocol_of
from harness.engine.cluster.connecting import capacity, check_capacity, connected, ray_version, size_of_workers
from harness.engine.cluster.dispatch import Dispatch
from harness.engine.cluster.messages import PromptToCheck, Setting, WorkerInfo, run_message
from harness.engine.cluster.worker import Worker
from harness.engine.cluster.workers import WorkerGroup
from harness.engine.executor import Job, RunObserver
from harness.engine.loop import run_to_end
from harness.engine.opening import OpenTask
from harness.errors import RunStopped
from harness.pool import Pool
from harness.provenance import provenance
from harness.suite import Suite
from harness.text import one_line


class RayExecutor:
    """Plays on a Ray cluster.

    Args:
        address: The cluster's address; see ``connected``.
        workers: Number of workers; as many as there is room for if not given, also for nodes that join while a run is
            played.
        cpus: CPUs of each, and the number of its threads; a node's, or its share for the GPUs, if not given.
        gpus: GPUs of each.
        patience: Seconds that a worker may not answer before it counts as lost.
        period: Seconds between two looks at each worker.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        workers: int | None = None,
        cpus: float | None = None,
        gpus: float = 0.0,
        patience: float = 300.0,
        period: float = 2.0,
    ) -> None:
        self._address = address
        self._workers = workers
        self._cpus = cpus
        self._gpus = gpus
        self._patience = patience
        self._period = period

    @contextmanager
    def open(self, suite: Suite, pool: Pool, *, reuse: bool) -> Iterator[RayPlayers]:
        """Load the pool's models on the workers.

        Raises:
            MixrouteError: no such cluster or no room in it, or a worker cannot load, or is not what the others are.
        """
        with connected(self._address):
            size = size_of_workers(self._cpus, self._gpus)
            if self._workers is not None:
                check_capacity(self._workers, size)
            setting = Setting(suite.model_dump(mode="json", by_alias=True), reuse, str(Path.cwd()))
            group = WorkerGroup(Worker, msgspec.json.encode(setting), size, suite.concurrency)
            try:
                group.start(self._wanted(group))
                run_to_end(group.wait_for_all())
                yield RayPlayers(group, lambda: self._wanted(group), self._patience, self._period)
            finally:
                group.stop_all()

    def _wanted(self, group: WorkerGroup) -> int:
        most = capacity(group.size) if self._workers is None else self._workers
        return max(1, most - group.refused)


class RayPlayers:
    """Workers that have a pool's models loaded.

    Args:
        group: The workers.
        wanted: The number of workers that there should be now.
        patience: Seconds that one may not answer.
        period: Seconds between two looks at each.
    """

    def __init__(self, group: WorkerGroup, wanted: Callable[[], int], patience: float, period: float) -> None:
        self._group = group
        self._wanted = wanted
        self._patience = patience
        self._period = period

    @property
    def _first(self) -> WorkerInfo:
        assert self._group.first is not None  # noqa: S101 - all were wait_for
        return self._group.first

    def cards(self) -> dict[str, dict[str, Any]]:
        """The models' cards, of which all workers have the fingerprints."""
        return self._first.cards

    def prompt_notes(self, opened: OpenTask) -> dict[str, dict[str, str]]:
        """What the models of a worker do to a task's prompts, once they are checked."""
        shown = msgspec.json.encode(PromptToCheck(opened.entry.model_dump(mode="json"), opened.instances[0].id))
        return run_to_end(self._group.ask(lambda actor: actor.prompt_notes.remote(shown), dict[str, dict[str, str]]))

    def provenance(self) -> dict[str, Any]:
        """This process's command, with versions and machine of the workers, which are of one kind."""
        theirs = {key: self._first.provenance[key] for key in ("python", "packages", "hardware")}
        size = self._group.size
        executor = {"name": "ray", **ray_version(), "workers": self._wanted(), "cpus": size.cpus, "gpus": size.gpus}
        return {**provenance(), **theirs, "executor": executor}

    def play(self, job: Job, instances: Sequence[Instance], observer: RunObserver) -> None:
        """Play on the workers."""
        dispatch = Dispatch(
            self._group,
            run_message(job, protocol_of(job.opened.entry.task, job.opened.task)),
            instances,
            job.suite.concurrency,
            observer,
            patience=self._patience,
            period=self._period,
            wanted=self._wanted,
        )
        from ray.exceptions import RayError

        try:
            run_to_end(dispatch.play())
        except RayError as error:
            raise RunStopped(
                f"the Ray cluster failed ({one_line(error)}): finished episodes are kept; the same command goes on"
            ) from error
