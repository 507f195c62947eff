"""What is challenged: a row of published entries, the reference that it is compared with, and how to play it again.

An entry is a stranger's. Nothing that it names is opened as a file or run as code: routers, tasks and pools are those
that are installed here under the entry's names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from harness import pool, registry
from harness.board.runs import REFERENCE, RunsAcrossSeeds, runs_by_router
from harness.config import shipped_names
from harness.contracts import DrawsFreshGames
from harness.errors import MixrouteError
from harness.plugins import open_task
from harness.records import CHAT_TEMPLATE, RunMeta
from harness.suite import RunConfig
from harness.text import one_line, quoted
from harness.traces.read import read_run
from harness.traces.store import RUN, find_runs, read_meta

_FILES = (".py", ".yaml", ".yml", ".json", ".safetensors", ".xz")


@dataclass(frozen=True, slots=True)
class Claim:
    """A published row with what it was compared with."""

    folder: Path
    """The entry of its first seed."""
    config: RunConfig
    row: RunsAcrossSeeds
    reference: RunsAcrossSeeds
    """Always-high of the same group."""

    @property
    def meta(self) -> RunMeta:
        """What the entry of the first seed recorded."""
        return self.row.meta


def read_claim(entry: Path, entries: Path, pool_file: str | None = None) -> Claim:
    """The row that ``entry`` is part of.

    Args:
        entry: Folder of an entry.
        entries: Folder of the published entries, for the row's other seeds and its reference.
        pool_file: The pool to play with, where the entry's is not a shipped one.

    Raises:
        MixrouteError: an entry is damaged or unfinished, names what is not installed here, was played by another
            protocol, or has no always-high of its group beside it.
    """
    meta = read_meta(entry)
    config = _config(entry / RUN, meta, pool_file)
    folders = {folder.resolve(): folder for folder in (*find_runs(entries), entry)}
    wanted = {}
    for path, folder in folders.items():
        other = read_meta(folder)
        if other.group == meta.group and other.router in (meta.router, REFERENCE):
            wanted[path] = folder
    rows = runs_by_router([read_run(folder) for folder in wanted.values()])
    row = next(row for row in rows if any(run.meta.hash == meta.hash for run in row.runs))
    references = sorted((r for r in rows if r.meta.router == REFERENCE), key=lambda r: r.meta.label != REFERENCE)
    if not references:
        raise MixrouteError(
            f"{entries} has no entry of {REFERENCE} in the group of {entry.name} ({meta.group[:12]}), which a claim is "
            "compared with: publish one, or name the folder that has it with --entries"
        )
    if row in references:
        raise MixrouteError(f"{entry.name} is a row of {REFERENCE}, which claims nothing against itself: name another")
    for one in (row, references[0]):
        if not one.complete:
            raise MixrouteError(f"{one.runs[0].folder} lacks episodes: finish the run, and pack it again")
    return Claim(row.runs[0].folder, config, row, references[0])


def _config(where: Path, meta: RunMeta, pool_file: str | None) -> RunConfig:
    """The entry's configuration, if all that it names is installed here."""
    try:
        config = RunConfig.model_validate(meta.config)
    except ValueError as error:
        raise MixrouteError(f"{where}: 'config' is not valid: {one_line(error)}") from error
    for kind, name in ((registry.tasks, config.task), (registry.routers, config.router)):
        if name not in kind.names():
            raise MixrouteError(
                f"{where}: {kind.kind} '{name[:200]}' is not installed here, and code that an entry names by a file is "
                f"never run: install the package that brings it (known: {', '.join(kind.names())})"
            )
    for key, value in _texts({"task_args": config.task_args, "router_args": config.router_args, "fitted": meta.fitted}):
        if "/" in value or "\\" in value or PurePosixPath(value).suffix in _FILES or Path(value).exists():
            raise MixrouteError(
                f"{where}: {key} = {quoted(value, 200)} names a file, and no path of an entry is opened: a row that "
                "is to be challenged names what is shipped or installed"
            )
    if pool_file is None and config.pool not in shipped_names(pool.SHIPPED):
        raise MixrouteError(
            f"{where}: pool '{config.pool[:200]}' is not a shipped one, and no path of an entry is opened: give a file "
            "with the same models by --pool"
        )
    _check_task(where, meta, config)
    played = pool_file or config.pool
    if pool.load_pool(played).kv_cache != config.kv_cache:
        raise MixrouteError(
            f"{where}: its models shared key-value caches otherwise than those of pool '{played}' (config.kv_cache): "
            "give a file with the same models and kv_cache by --pool"
        )
    return config.model_copy(update={"pool": pool_file or config.pool})


def _texts(value: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text inside JSON, keys included, with where it stands."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner, f"{key}.{name}" if key else str(name))
            yield f"a key of {key}", str(name)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner, key)
    elif isinstance(value, str):
        yield key, value


def _check_task(where: Path, meta: RunMeta, config: RunConfig) -> None:
    """Refuse tasks without fresh games, and protocols that this version does not play."""
    cls = registry.tasks.get(config.task)
    if not isinstance(cls, DrawsFreshGames):
        able = [name for name in registry.tasks.names() if isinstance(registry.tasks.get(name), DrawsFreshGames)]
        raise MixrouteError(
            f"no fresh games for task '{config.task}': its games are given and cannot be drawn anew, and generated "
            f"ones are of another distribution: challenge the router's row on one of {', '.join(able)}"
        )
    if config.split != cls.fresh_games_like:
        raise MixrouteError(
            f"{where}: it reports split '{config.split}' of '{config.task}', and fresh games are drawn as those of "
            f"'{cls.fresh_games_like}': challenge a row of that split"
        )
    ours = _plain(open_task(config.task, split=config.split, **config.task_args).protocol())
    differing = sorted(
        key for key in {*ours, *meta.protocol} - {CHAT_TEMPLATE} if ours.get(key) != meta.protocol.get(key)
    )
    if differing:
        key = differing[0]
        raise MixrouteError(
            f"{where}: protocol.{key} is {quoted(meta.protocol.get(key))}, and this version plays "
            f"{quoted(ours.get(key))}: what is played by other rules cannot be compared; publish the row again with "
            f"this version"
        )


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(dict(value)))
    return found
