"""Plays a suite: one run on disk for each task, router and seed. All checks come before anything is written."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.contracts import Calibrated, Router
from harness.engine.answers import fitted_by, protocol_of, trained_on
from harness.engine.executor import Executor, Job, LocalExecutor, Players
from harness.engine.identity import check_source, content_of, other_machine_note, run_config
from harness.engine.meta import run_meta
from harness.engine.opening import OpenTask, open_instances
from harness.engine.progress import EpisodeRecorder, RunProgress
from harness.engine.shard import Shard
from harness.engine.state import changed_state, state_of
from harness.errors import MixrouteError
from harness.files import locked_folder
from harness.plugins import open_router
from harness.pool import Pool, load_pool
from harness.records import CHAT_TEMPLATE, Episode, RunMeta
from harness.suite import RouterEntry, RunConfig, Suite
from harness.traces.contamination import instance_key, seen_by, write_seen
from harness.traces.store import CALIBRATION, TraceWriter, read_episodes
from harness.traces.training_pool import other_pool_note

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run whose episodes have all been played, or those of a shard, and where it is."""

    folder: Path
    meta: RunMeta
    opened: OpenTask
    router: RouterEntry
    failed: bool
    """Whether each of its episodes ended in an error."""

    def episodes(self) -> list[Episode]:
        """Its episodes, sorted by instance; those that ended in an error are among them. A calibration folder may hold
        others as well: which games a suite calibrates on depends on what its routers were trained on.
        """
        own = {one.id for one in self.opened.instances}
        return [episode for episode in read_episodes(self.folder) if episode.instance in own]


class SuiteRunner:
    """Plays the runs of one suite into a folder. Finished episodes are kept and not played again.

    Each router is built once, before anything is played, and once more for each set of arguments that calibration
    chooses: its runs share the object.

    Args:
        suite: What to run.
        out: Folder of the runs; calibration runs go to its subfolder ``calibration``.
        console: Where progress is shown.
        reuse: Whether completions that were computed before, in this run or another, come from ``CompletionCache``.
        training_tasks: The suite's tasks, opened, for runs that training reads. They are never reported, so the
            pool's models may have been trained on their instances.
        shard: The share of each run's instances to play; all of them if not given. Development episodes are all
            played, since what is fitted to them is part of a run's identity.
        executor: What plays; this process if not given.
        fail_fast: Whether the first episode that ends in an error ends the run; it is recorded.

    Raises:
        MixrouteError: anything in the suite, the data, the weights or the folder that keeps it from running.
    """

    def __init__(
        self,
        suite: Suite,
        out: Path,
        console: Console,
        *,
        reuse: bool = True,
        training_tasks: Sequence[OpenTask] | None = None,
        shard: Shard | None = None,
        executor: Executor | None = None,
        fail_fast: bool = False,
    ) -> None:
        self._suite = suite
        self._out = out
        self._console = console
        self._reuse = reuse
        self._shard = shard
        self._fail_fast = fail_fast
        self._pool: Pool = load_pool(suite.pool)
        self._executor: Executor = executor or LocalExecutor()
        self._routers: dict[str, Router] = {}
        self._warned: set[str] = set()
        self._protocols: dict[int, dict[str, Any]] = {}
        self._notes: dict[int, dict[str, dict[str, str]]] = {}
        self._content: dict[tuple[int, int], dict[str, str]] = {}
        self._seen_by_pool = seen_by(self._pool)
        self._seen = self._seen_by_pool
        self._reported = [open_instances(entry) for entry in suite.tasks] if training_tasks is None else training_tasks
        if training_tasks is None:
            self._check_apart(f"pool '{suite.pool}'", self._seen_by_pool)
        routers = [self._router(entry) for entry in suite.routers]
        for entry, router in zip(suite.routers, routers, strict=True):
            own = trained_on(entry, router)
            self._check_apart(f"router '{entry.name}'", own)
            self._seen |= own
        self._development = [self._open_development(opened) for opened in self._reported]
        for entry, router in zip(suite.routers, routers, strict=True):
            if isinstance(router, Calibrated):
                self._router(RouterEntry(router=router.probe))
                if None in self._development:
                    fitted_by(entry, router, ())  # raises now what would be missing after other routers have played
        for opened in filter(None, (*self._reported, *self._development)):
            self._protocol(opened)
            for entry, router in zip(suite.routers, routers, strict=True):
                self._content_of(opened, entry, router)

    def run(self) -> list[FinishedRun]:
        """Play everything of the shard that is not on disk yet.

        Returns:
            Every run of the suite, without its calibration runs.
        """
        with ExitStack() as stack:
            self._console.print(f"loading models {', '.join(self._pool.models)}", style="dim", highlight=False)
            players = stack.enter_context(self._executor.open(self._suite, self._pool, reuse=self._reuse))
            stack.enter_context(locked_folder(self._out))
            return [
                self._play(
                    players, opened, entry, self._fit(players, entry, development, seed), seed, self._out, self._shard
                )
                for opened, development in zip(self._reported, self._development, strict=True)
                for entry in self._suite.routers_of(opened.entry.task)
                for seed in entry.seeds or self._suite.seeds
            ]

    def _router(self, entry: RouterEntry, fitted: Mapping[str, Any] | None = None) -> Router:
        """The router with its arguments and those that calibration chose; the same object for the same arguments."""
        arguments = {**entry.args, **(fitted or {})}
        key = repr((entry.router, arguments))
        if key not in self._routers:
            self._routers[key] = open_router(entry.router, **arguments)
        return self._routers[key]

    def _check_apart(self, who: str, seen: Collection[str]) -> None:
        for opened in self._reported:
            for one in opened.instances:
                if instance_key(opened.task.name, one.id) in seen:
                    raise MixrouteError(
                        f"{who} was trained on {one.id} of task '{opened.entry.task}': "
                        f"report on other instances than those of split '{opened.entry.split}'"
                    )

    def _open_development(self, reported: OpenTask) -> OpenTask | None:
        calibration = reported.entry.calibration
        if calibration is None:
            return None
        entry = reported.entry.model_copy(update={**calibration.model_dump(), "calibration": None})
        opened = open_instances(entry, without=self._seen)
        shared = {one.id for one in opened.instances} & {one.id for one in reported.instances}
        if shared:
            raise MixrouteError(
                f"task '{entry.task}': instance {min(shared)} is in the calibration split '{entry.split}' and in the "
                f"reported split '{reported.entry.split}': thresholds may not see test instances"
            )
        return opened

    def _warn_once(self, message: str) -> None:
        if message and message not in self._warned:
            self._warned.add(message)
            log.warning("%s", message)

    def _fit(self, players: Players, entry: RouterEntry, development: OpenTask | None, seed: int) -> dict[str, Any]:
        router = self._router(entry)
        if not isinstance(router, Calibrated):
            return {}
        episodes: Iterable[Episode] = ()
        if development is not None:
            probe = RouterEntry(router=router.probe)
            episodes = self._play(players, development, probe, {}, seed, self._out / CALIBRATION).episodes()
        return fitted_by(entry, router, episodes)

    def _protocol(self, opened: OpenTask) -> dict[str, Any]:
        """The task's protocol, asked for once."""
        if id(opened) not in self._protocols:
            self._protocols[id(opened)] = protocol_of(opened.entry.task, opened.task)
        return self._protocols[id(opened)]

    def _content_of(self, opened: OpenTask, entry: RouterEntry, router: Router) -> dict[str, str]:
        """Hashes of the files that a run depends on, which may not change after the router was built of them.

        Raises:
            MixrouteError: one has changed.
        """
        found = content_of(opened.entry, entry, router)
        known = self._content.setdefault((id(opened), id(router)), found)
        changed = [name for name in {*found, *known} if found.get(name) != known.get(name)]
        if changed:
            raise MixrouteError(
                f"router '{entry.name}': the files of {min(changed)} have changed since they were loaded, and results "
                "may be of both: give the same command again, which begins another run; delete this one if it had begun"
            )
        return known

    def _play(
        self,
        players: Players,
        opened: OpenTask,
        entry: RouterEntry,
        fitted: Mapping[str, Any],
        seed: int,
        out: Path,
        shard: Shard | None = None,
    ) -> FinishedRun:
        router = self._router(entry, fitted)
        config = run_config(self._suite, self._pool, opened.entry, entry, seed)
        meta = self._meta(players, config, opened, entry, router, fitted)
        self._warn_once(f"router '{entry.name}': {note}" if (note := other_pool_note(meta)) else "")
        writer = TraceWriter(out / meta.id, meta)
        write_seen(writer.folder, self._seen_by_pool | trained_on(entry, router))
        share = opened.instances if shard is None else shard.share(opened.instances)
        missing = [one for one in share if one.id not in writer.episodes]
        done = [writer.episodes[one.id] for one in share if one.id in writer.episodes]
        if missing and done:
            self._warn_once(other_machine_note(writer.folder, meta))
        title = f"{config.task}/{config.split} {entry.name} seed {seed}" + (f" shard {shard}" if shard else "")
        try:
            won = sum(episode.success for episode in done)
            with RunProgress(self._console, title, len(done), won, len(share)) as progress:
                observer = EpisodeRecorder(writer, progress, fail_fast=self._fail_fast)
                if missing:
                    check_source(out / meta.id, meta)
                    state = state_of(router)
                    players.play(Job(self._suite, meta, opened, entry, router), missing, observer)
                    if changed := changed_state(router, state):
                        self._warn_once(
                            f"router '{entry.name}' changed its attribute '{changed[0]}' while it played. One object "
                            "plays all episodes at once, so that its decisions may depend on their order, and the same "
                            "run may give other traces: take what it needs from the step (docs/plugins.md)"
                        )
        except BaseException:
            with suppress(MixrouteError, OSError):  # what stopped the run is the error that counts
                writer.close()
            raise
        writer.close()
        lost = [one.id for one in share if one.id not in writer.episodes]
        if lost:
            raise MixrouteError(
                f"{title}: {len(lost)} of {len(share)} episodes were not played, such as {lost[0]}: a "
                "plug-in ended their play; the same command plays them"
            )
        if missing:
            self._content_of(opened, entry, router)
        errors = [episode.error for episode in writer.episodes.values() if episode.error]
        if errors:
            log.warning("%s: %d episodes ended in an error; the first: %s", title, len(errors), errors[0])
        return FinishedRun(writer.folder, meta, opened, entry, 0 < len(errors) == len(writer.episodes))

    def _meta(
        self,
        players: Players,
        config: RunConfig,
        opened: OpenTask,
        entry: RouterEntry,
        router: Router,
        fitted: Mapping[str, Any],
    ) -> RunMeta:
        protocol, content = self._protocol(opened), self._content_of(opened, entry, router)
        if id(opened) not in self._notes:
            self._notes[id(opened)] = players.prompt_notes(opened)
        if notes := self._notes[id(opened)]:
            protocol = {**protocol, CHAT_TEMPLATE: notes}
        return run_meta(
            config,
            entry,
            router,
            task=opened.task.name,
            pool_file=self._suite.pool,
            concurrency=self._suite.concurrency,
            cards=players.cards(),
            protocol=protocol,
            content=content,
            fitted=fitted,
            instances=[one.id for one in opened.instances],
            provenance=players.provenance(),
        )
