"""From a suite to finished runs on disk. Everything that can be wrong is checked before anything is written."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console

from harness.backends.completion_cache import CompletionCache
from harness.contracts import Backend, Calibrated, Router, SupportsCompletionCache, Task, Trained, role_of
from harness.data import Instance
from harness.engine.identity import run_hash, run_id
from harness.engine.loop import run_to_end
from harness.engine.progress import RunProgress
from harness.engine.rollout import Play, play_all
from harness.errors import MixrouteError
from harness.plugins import open_router, open_task
from harness.pool import Pool, load_pool, open_backend
from harness.provenance import provenance, source_of
from harness.records import Episode, EpisodeTiming, RunMeta
from harness.seeding import seed_for
from harness.suite import Mode, RouterEntry, RunConfig, Suite, TaskEntry, run_config
from harness.traces.contamination import instance_key, seen_by, write_seen
from harness.traces.store import SCHEMA, TraceWriter, read_meta

log = logging.getLogger(__name__)

CALIBRATION = "calibration"


@dataclass(frozen=True, slots=True)
class OpenTask:
    """A task entry of the suite with its task and the instances to play."""

    entry: TaskEntry
    task: Task
    instances: Sequence[Instance]


def sample(instances: Sequence[Instance], limit: int | None) -> list[Instance]:
    """A fixed sample of ``limit`` instances, as even over the kinds as their numbers allow, sorted by id.

    Which ones depends on their ids alone, so that a larger limit contains the smaller.
    """
    if limit is None or limit >= len(instances):
        return list(instances)
    kinds: dict[str, list[Instance]] = {}
    for instance in sorted(instances, key=lambda one: seed_for("sample", one.id)):
        kinds.setdefault(instance.kind, []).append(instance)
    rounds = ((turn, kind, one) for kind, members in kinds.items() for turn, one in enumerate(members))
    chosen = [one for _, _, one in sorted(rounds, key=lambda place: place[:2])[:limit]]
    return sorted(chosen, key=lambda one: one.id)


def open_instances(entry: TaskEntry, without: Collection[str] = ()) -> OpenTask:
    """Open a task and check that each of its instances can be played.

    Args:
        entry: What to open.
        without: Instances to leave out, as ``instance_key`` names them.

    Raises:
        MixrouteError: unknown task or argument, missing data, corrupt instance.
    """
    task = open_task(entry.task, split=entry.split, **entry.args)
    instances = sample([one for one in task.instances() if instance_key(task.name, one.id) not in without], entry.limit)
    if not instances:
        left = " left: a model was trained on all of them, or dev plays them" if without else ""
        raise MixrouteError(f"task '{entry.task}' has no instance in split '{entry.split}'{left}")
    for one, count in Counter(one.id for one in instances).items():
        if count > 1:
            raise MixrouteError(f"task '{entry.task}' has two instances with the id {one}: make the data's ids unique")
    if not task.blocking:
        for instance in instances:
            task.open(instance).close()
    return OpenTask(entry, task, instances)


@contextmanager
def open_models(pool: Pool, mode: Mode, answers: CompletionCache | None) -> Iterator[dict[str, Backend]]:
    """The pool's models, loaded, until the block ends.

    Args:
        pool: What to load.
        mode: Of the suite that is to be played.
        answers: Where greedy answers are kept; closed at the end.

    Raises:
        MixrouteError: weights or options that are wrong.
    """
    with ExitStack() as stack:
        if answers is not None:
            stack.callback(answers.close)
        models = {}
        for name, spec in pool.models.items():
            backend = models[name] = open_backend(name, spec, deterministic=mode == "deterministic")
            stack.callback(backend.close)
            if answers is not None and isinstance(backend, SupportsCompletionCache):
                backend.use_cache(answers)
        yield models


class SuiteRunner:
    """Plays the runs of one suite into a folder. Finished episodes are kept and not played again.

    Args:
        suite: What to run.
        out: Folder of the runs; calibration runs go to its subfolder ``calibration``.
        console: Where progress is shown.
        reuse: Whether answers that were computed before, in this run or another, are taken from ``CompletionCache``.
        training_tasks: The suite's tasks, opened; what is learned from is never reported, so models may have seen it.

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
    ) -> None:
        self._suite = suite
        self._out = out
        self._console = console
        self._reuse = reuse
        self._pool: Pool = load_pool(suite.pool)
        self._models: dict[str, Backend] = {}
        self._seen_by_pool = seen_by(self._pool)
        self._seen = self._seen_by_pool
        self._reported = [open_instances(entry) for entry in suite.tasks] if training_tasks is None else training_tasks
        if training_tasks is None:
            self._check_apart(f"pool '{suite.pool}'", self._seen_by_pool)
        routers = [open_router(entry.router, **entry.args) for entry in suite.routers]
        for entry, router in zip(suite.routers, routers, strict=True):
            own = _trained_on(router)
            self._check_apart(f"router '{entry.name}'", own)
            self._seen |= own
        self._development = [self._open_development(opened) for opened in self._reported]
        for router in routers:
            if isinstance(router, Calibrated):
                open_router(router.probe)
                if None in self._development:
                    router.fit(())  # says now what is missing, not after other routers have played

    def run(self) -> None:
        """Play everything that is not on disk yet."""
        with ExitStack() as stack:
            self._console.print(f"loading models {', '.join(self._pool.models)}", style="dim", highlight=False)
            answers = CompletionCache() if self._reuse else None
            self._models = stack.enter_context(open_models(self._pool, self._suite.mode, answers))
            self._out.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(FileLock(self._out / ".lock").acquire(timeout=0))
            except Timeout:
                raise MixrouteError(
                    f"{self._out} is in use by another mixroute process: wait, or use another --out"
                ) from None
            for opened, development in zip(self._reported, self._development, strict=True):
                for entry in self._suite.routers_of(opened.entry.task):
                    for seed in entry.seeds or self._suite.seeds:
                        fitted = self._fit(entry, development, seed)
                        self._play(opened, entry, fitted, seed, self._out)

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

    def _fit(self, entry: RouterEntry, development: OpenTask | None, seed: int) -> dict[str, Any]:
        router = open_router(entry.router, **entry.args)
        if not isinstance(router, Calibrated):
            return {}
        episodes: Iterable[Episode] = ()
        if development is not None:
            probe = RouterEntry(router=router.probe)
            episodes = self._play(development, probe, {}, seed, self._out / CALIBRATION)
        return dict(router.fit(episodes))

    def _play(
        self, opened: OpenTask, entry: RouterEntry, fitted: Mapping[str, Any], seed: int, out: Path
    ) -> list[Episode]:
        router = open_router(entry.router, **{**entry.args, **fitted})
        config = run_config(self._suite, opened.entry, entry, seed)
        meta = self._meta(config, opened, entry, router, fitted)
        writer = TraceWriter(out / meta.id, meta)
        write_seen(writer.folder, self._seen_by_pool | _trained_on(router))
        won = sum(episode.success for episode in writer.episodes.values())
        missing = [one for one in opened.instances if one.id not in writer.episodes]
        done = len(opened.instances) - len(missing)
        play = Play(
            run=meta.hash,
            seed=seed,
            temperature=config.temperature,
            task=opened.task,
            router=router,
            pool=self._models,
            router_timeout=self._suite.router_timeout,
        )
        title = f"{config.task}/{config.split} {entry.name} seed {seed}"
        try:
            with RunProgress(self._console, title, done, won, len(opened.instances)) as progress:
                observer = _Recorder(writer, progress)
                if missing:
                    _check_source(out / meta.id, meta)
                    run_to_end(play_all(play, missing, self._suite.concurrency, observer))
        finally:
            writer.close()
        errors = [episode for episode in writer.episodes.values() if episode.error]
        if errors:
            log.warning("%s: %d episodes ended in an error; the first: %s", title, len(errors), errors[0].error)
        return [writer.episodes[key] for key in sorted(writer.episodes)]

    def _meta(
        self, config: RunConfig, opened: OpenTask, entry: RouterEntry, router: Router, fitted: Mapping[str, Any]
    ) -> RunMeta:
        cards = {name: asdict(model.card()) for name, model in self._models.items()}
        fingerprints = {name: card["fingerprint"] for name, card in cards.items()}
        full, group = run_hash(config, opened.task.protocol(), fingerprints, fitted)
        return RunMeta(
            schema=SCHEMA,
            id=run_id(config, self._pool.name, entry.name, full),
            hash=full,
            group=group,
            label=entry.name,
            task=opened.task.name,
            split=config.split,
            pool=self._pool.name,
            router=config.router,
            seed=config.seed,
            config=config.model_dump(),
            protocol=dict(opened.task.protocol()),
            models=cards,
            fitted=dict(fitted),
            instances=[one.id for one in opened.instances],
            provenance={**provenance(), "concurrency": self._suite.concurrency, "router": source_of(type(router))},
            curve=entry.curve,
            role=role_of(router),
        )


def _trained_on(router: Router) -> frozenset[str]:
    return frozenset(router.trained_on()) if isinstance(router, Trained) else frozenset()


def _check_source(folder: Path, meta: RunMeta) -> None:
    """One run is one router: an edited one may not finish what another began."""
    begun = read_meta(folder).provenance["router"]["sha256"]
    if begun != meta.provenance["router"]["sha256"]:
        raise MixrouteError(
            f"the source of router '{meta.router}' has changed since {folder} was begun: delete that folder, or use "
            "another --out"
        )


class _Recorder:
    """Puts finished episodes on disk and on the progress bar."""

    def __init__(self, writer: TraceWriter, progress: RunProgress) -> None:
        self._writer = writer
        self._progress = progress

    def call_finished(self, tokens: int) -> None:
        self._progress.tokens(tokens)

    def episode_finished(self, episode: Episode, timing: EpisodeTiming) -> None:
        self._writer.append(episode, timing)
        self._progress.episode(episode.success)
