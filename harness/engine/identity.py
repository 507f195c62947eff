"""Identity of a run: hashes of everything that may change its result, by content and never by spelling."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness import registry
from harness.contracts import BuiltFromFiles, Router
from harness.files import content_hash, is_file_name, name_without_folder, path_hash
from harness.plugins import complete_arguments
from harness.provenance import source_of
from harness.records import by_content
from harness.suite import RouterEntry, RunConfig, Suite, TaskEntry
from harness.traces.store import SCHEMA

_OWN = ("limit", "router", "router_args", "seed")
"""Settings in which runs of one group may differ."""


def run_config(suite: Suite, pool: str, task: TaskEntry, router: RouterEntry, seed: int) -> RunConfig:
    """The run of one router on one task of the suite, with arguments in their normal form.

    Args:
        suite: The suite.
        pool: Name of its pool, not the pool's file.
        task: The task.
        router: The router.
        seed: Root seed.

    Raises:
        MixrouteError: unknown task or router.
    """
    return RunConfig(
        task=name_without_folder(task.task),
        task_args=task_arguments(task),
        split=task.split,
        limit=task.limit,
        pool=pool,
        router=name_without_folder(router.router),
        router_args=complete_arguments(registry.routers, router.router, router.args),
        seed=seed,
        mode=suite.mode,
        temperature=suite.temperature,
    )


def task_arguments(task: TaskEntry) -> dict[str, Any]:
    """Arguments of a task in their normal form, without its split and those that only say where its data lies.

    Raises:
        MixrouteError: unknown task, or a value of another type.
    """
    elsewhere = {"split", *location_arguments(task.task)}
    arguments = complete_arguments(registry.tasks, task.task, task.args)
    return {key: value for key, value in arguments.items() if key not in elsewhere}


def location_arguments(task: str) -> tuple[str, ...]:
    """Arguments of a task that only say where its data lies; see ``harness.contracts.Task``."""
    return tuple(getattr(registry.tasks.get(task), "location_arguments", ("data",)))


def content_of(task: TaskEntry, router: RouterEntry, opened: Router) -> dict[str, str]:
    """SHA-256 of the files that a run depends on, by the setting that names them; see ``RunMeta.content``.

    Args:
        task: The task.
        router: The router.
        opened: The router, opened.
    """
    found = _files_named("task_args", task.args, without=location_arguments(task.task))
    found |= _files_named("router_args", router.args)
    found |= router_content(opened)
    for setting, name, kind in (("task", task.task, registry.tasks), ("router", router.router, registry.routers)):
        if is_file_name(name):
            found[setting] = str(source_of(kind.get(name))["sha256"])
    return dict(sorted(found.items()))


def router_content(router: Router) -> dict[str, str]:
    """The part of ``content_of`` that an opened router tells of itself."""
    files = router.content_files() if isinstance(router, BuiltFromFiles) else {}
    return {f"router_args.{argument}": path_hash(path) for argument, path in files.items()}


def _files_named(setting: str, arguments: Mapping[str, Any], without: Iterable[str] = ()) -> dict[str, str]:
    """Arguments that are paths. Text is one where it has a slash or a suffix, and exists."""
    found = {}
    for key, value in arguments.items():
        is_path = isinstance(value, Path) or (isinstance(value, str) and ("/" in value or Path(value).suffix))
        if is_path and key not in without and Path(value).exists():
            found[f"{setting}.{key}"] = path_hash(Path(value))
    return found


def run_hash(
    config: RunConfig,
    protocol: Mapping[str, Any],
    fingerprints: Mapping[str, str],
    fitted: Mapping[str, Any],
    content: Mapping[str, str],
) -> tuple[str, str]:
    """Hashes of the run and of its group; see ``harness.records.RunMeta``.

    Args:
        config: The run's settings.
        protocol: The task's protocol.
        fingerprints: Fingerprints of the pool's models, by name.
        fitted: Router arguments chosen on development episodes.
        content: Hashes of the files that settings name.
    """
    settings = by_content(config.model_dump(), content)
    shared = {
        "schema": SCHEMA,
        "config": {key: value for key, value in settings.items() if key not in _OWN},
        "protocol": dict(protocol),
        "models": dict(fingerprints),
    }
    own = {**{key: settings[key] for key in _OWN}, "fitted": dict(fitted)}
    return content_hash({**shared, **own}), content_hash(shared)


def run_id(config: RunConfig, label: str, full_hash: str) -> str:
    """The name of the run's folder."""
    slug = "".join(c if c.isalnum() or c in ".=-" else "-" for c in label).strip("-")[:80]
    name = f"{config.task}_{config.split}_{config.pool}_{slug}_s{config.seed}_{full_hash[:8]}"
    return name.translate(str.maketrans("/:", "--"))
