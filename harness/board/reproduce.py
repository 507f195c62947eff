"""How to play a published run again. An entry's words are a stranger's: its command is made from its settings anew, in
characters that no shell reads as its own, and what it recorded as its command is shown nowhere.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import Any, get_args

from harness.board.suites import entries_of, same_sample, tasks_of
from harness.config import shipped_names
from harness.errors import MixrouteError
from harness.pool import SHIPPED, load_pool
from harness.records import RunMeta
from harness.suite import Mode, RouterEntry, Suite, TaskEntry, parse_router

_PLAIN = re.compile(r'[A-Za-z0-9_][A-Za-z0-9_.,:=+\[\]"-]{0,299}')
_COMMIT = re.compile("[0-9a-f]{7,64}")


def command_of(meta: RunMeta) -> str:
    """The command that plays a run: the entry of a shipped suite, else its router on the task of one.

    It is empty where no shipped suite plays the task so, or where an argument cannot be written in plain characters.
    """
    planned = [found for found in entries_of(meta) if _same_conditions(found[0], meta)]
    for suite, entry in sorted(
        planned, key=lambda found: (found[1].name != meta.label, not _same_mode(found[0], meta))
    ):
        if meta.seed in (entry.seeds or suite.seeds):
            return _run(suite, meta, ["--only", str(meta.config["task"]), "--only", entry.name])
    router = _router(meta)
    tasks = [found for found in tasks_of(meta) if _same_conditions(found[0], meta)]
    if not (tasks and _PLAIN.fullmatch(router) and isinstance(meta.limit, int | None)):
        return ""
    suite, task = min(tasks, key=lambda found: (not _same_mode(found[0], meta), not same_sample(found[1].limit, meta)))
    return _run(suite, meta, ["--only", task.task, "--router", router, *_changes(suite, task, meta)])


def commit_of(meta: RunMeta) -> str:
    """The repository's commit when a run was begun, with ``-dirty`` where files had been changed; empty if unknown."""
    git = meta.provenance.get("git")
    if not isinstance(git, dict) or not _COMMIT.fullmatch(str(git.get("commit"))):
        return ""
    return f"{git['commit']}{'-dirty' if git.get('dirty') else ''}"


def _run(suite: Suite, meta: RunMeta, options: list[str]) -> str:
    pool = ["--pool", meta.pool] if suite.pool != meta.pool and _shipped_pool(meta.pool) else []
    mode = [] if _same_mode(suite, meta) else ["--mode", str(meta.config["mode"])]
    return shlex.join(["mixroute", "run", suite.name, *options, *pool, *mode])


def _same_mode(suite: Suite, meta: RunMeta) -> bool:
    return bool(suite.mode == meta.config.get("mode"))


def _same_conditions(suite: Suite, meta: RunMeta) -> bool:
    """Whether a suite plays at a run's temperature, in a mode and with a pool that may be made the run's."""
    same = suite.temperature == meta.config.get("temperature") and meta.config.get("mode") in get_args(Mode)
    if not _shipped_pool(meta.pool):
        return same and not _shipped_pool(suite.pool)
    sharing = load_pool(meta.pool).kv_cache
    return same and meta.config.get("kv_cache") == (sharing and sharing.model_dump())


def _shipped_pool(name: str) -> bool:
    return name in shipped_names(SHIPPED)


def _changes(suite: Suite, task: TaskEntry, meta: RunMeta) -> list[str]:
    """What a run does otherwise than the suite."""
    limit = [] if same_sample(task.limit, meta) else ["--limit", f"{meta.limit or len(meta.instances):d}"]
    return [*limit, *([] if suite.seeds == [meta.seed] else ["--seed", str(meta.seed)])]


def _router(meta: RunMeta) -> str:
    """The router as ``mixroute run --router`` reads it; empty if it cannot be written so."""
    arguments: dict[str, Any] = meta.config.get("router_args", {})
    pairs = [f"{key}={v if isinstance(v, str) else json.dumps(v)}" for key, v in arguments.items()]
    text = ",".join([meta.router, *pairs])
    try:
        read = parse_router(text)
    except (MixrouteError, ValueError):
        return ""
    return text if read == RouterEntry(router=meta.router, args=arguments) else ""
