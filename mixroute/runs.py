"""Playing suites, and loading models, from Python."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from harness.contracts import Backend
from harness.engine.executor import Executor
from harness.engine.opening import open_models
from harness.engine.runner import SuiteRunner
from harness.engine.shard import parse_shard
from harness.pool import Pool, load_pool
from harness.suite import Mode, RouterEntry, Suite, load_suite, with_changes
from harness.terminal import Terminal
from mixroute.results import Results, load_results


def run(
    suite: str | Path | Suite,
    out: str | Path | None = None,
    *,
    routers: Sequence[str | RouterEntry] = (),
    only: Sequence[str] = (),
    pool: str | Path | None = None,
    scaffold: str | Path | None = None,
    limit: int | None = None,
    seeds: Sequence[int] = (),
    concurrency: int | None = None,
    mode: Mode | None = None,
    reuse: bool = True,
    shard: str | None = None,
    executor: Executor | None = None,
) -> Results:
    """Play a suite, as the command ``mixroute run`` does. Finished episodes are kept and not played again.

    Args:
        suite: Name of a shipped suite, a ``.yaml`` file, or the suite itself.
        out: Folder of the runs; ``runs/SUITE`` if not given, and ``runs/SUITE-shards/K-of-N`` of a shard.
        routers: Routers to play instead of the suite's: entries, or ``NAME,key=value,…`` where NAME may be
            ``path/to/file.py:Class``.
        only: Tasks and routers (by label) of the suite to play; all if empty.
        pool: Pool instead of the suite's: a name or a ``.yaml`` file.
        scaffold: Scaffold of the tasks instead of theirs: a name or a ``.yaml`` file.
        limit: Number of instances to play of each task.
        seeds: Root seeds instead of the suite's.
        concurrency: Episodes at once.
        mode: Mode instead of the suite's: ``deterministic``, or ``throughput``, which batches more and may round
            differently.
        reuse: Whether greedy completions that were computed before are taken from the completion cache.
        shard: The share of each run's instances to play, such as ``3/16``; all if not given.
        executor: What plays, such as a ``RayExecutor``; this process if not given.

    Returns:
        All runs in ``out``.

    Raises:
        MixrouteError: anything in the arguments, the suite, the data, the weights or the folder that keeps it from
            running.
    """
    chosen = with_changes(
        suite if isinstance(suite, Suite) else load_suite(str(suite)),
        routers=routers,
        only=only,
        pool=None if pool is None else str(pool),
        scaffold=None if scaffold is None else str(scaffold),
        limit=limit,
        seeds=seeds,
        concurrency=concurrency,
        mode=mode,
    )
    share = None if shard is None else parse_shard(shard)
    usual = chosen.folder if share is None else share.folder(chosen.folder)
    folder = usual if out is None else Path(out)
    SuiteRunner(chosen, folder, Terminal(stderr=True), reuse=reuse, shard=share, executor=executor).run()
    return load_results(folder)


def open_pool(pool: str | Path | Pool, *, mode: Mode = "deterministic") -> AbstractContextManager[dict[str, Backend]]:
    """Load the models of a pool, for a ``with`` block that gets them by name and closes them at its end.

    Args:
        pool: Name of a shipped pool, a ``.yaml`` file, or the pool itself.
        mode: ``deterministic``, or ``throughput``, which batches more and may round differently.

    Raises:
        MixrouteError: unknown pool, or weights or options that are wrong.
    """
    return open_models(pool if isinstance(pool, Pool) else load_pool(str(pool)), mode, None)
