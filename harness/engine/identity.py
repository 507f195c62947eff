"""Identity of a run: hashes of everything that may change its result, by content and never by spelling."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import registry
from harness.contracts import BuiltFromFiles, Router
from harness.errors import MixrouteError
from harness.files import content_hash, is_file_name, name_without_folder, path_hash
from harness.guard import call_plugin
from harness.plugins import complete_arguments
from harness.pool import Pool
from harness.provenance import differences, kind_of
from harness.records import RunMeta, by_content
from harness.sources import sources_hash
from harness.suite import RouterEntry, RunConfig, Suite, TaskEntry
from harness.text import quoted
from harness.traces.store import LONGEST_NAME, NO_NAME, RUN, SCHEMA, read_meta

_OWN = ("limit", "router", "router_args", "seed")
"""Settings in which runs of one group may differ."""


def run_config(suite: Suite, pool: Pool, task: TaskEntry, router: RouterEntry, seed: int) -> RunConfig:
    """The run of one router on one task of the suite, with arguments in their normal form.

    Args:
        suite: The suite.
        pool: Its pool, of which the name counts and not the file.
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
        pool=pool.name,
        router=name_without_folder(router.router),
        router_args=complete_arguments(registry.routers, router.router, router.args),
        seed=seed,
        mode=suite.mode,
        temperature=suite.temperature,
        kv_cache=pool.kv_cache,
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

    Raises:
        MixrouteError: a file cannot be read, or the router fails to name it.
    """
    found = _files_named("task_args", registry.tasks, task.task, task.args, without=location_arguments(task.task))
    found |= _source_of_file("task", task.task) | router_files(router, opened)
    return dict(sorted(found.items()))


def router_files(router: RouterEntry, opened: Router) -> dict[str, str]:
    """The part of ``content_of`` that is the router's."""
    found = _files_named("router_args", registry.routers, router.router, router.args)
    return found | router_content(opened) | _source_of_file("router", router.router)


def _source_of_file(setting: str, name: str) -> dict[str, str]:
    """The source of a plug-in that is given by its file."""
    return {setting: sources_hash(Path(name.rpartition(":")[0]))} if is_file_name(name) else {}


def router_content(router: Router) -> dict[str, str]:
    """The part of ``content_of`` that an opened router tells of itself."""
    if not isinstance(router, BuiltFromFiles):
        return {}
    who = f"router '{type(router).__name__}'"
    return call_plugin(
        who,
        "content_files",
        lambda: {f"router_args.{argument}": path_hash(path) for argument, path in router.content_files().items()},
    )


def _files_named(
    setting: str, kind: registry.Registry, name: str, arguments: Mapping[str, Any], without: Iterable[str] = ()
) -> dict[str, str]:
    """Arguments that are paths, given or by default, and lists and mappings of such.

    Text is one where it has a slash or a suffix, or the constructor's annotation says ``Path``, and it exists.
    """
    parameters = inspect.signature(kind.get(name)).parameters
    whole = {key: one.default for key, one in parameters.items() if one.default is not one.empty} | dict(arguments)
    found = {}
    for key, value in whole.items():
        annotation = parameters[key].annotation if key in parameters else ""
        content = _content(value, "Path" in str(annotation)) if key not in without else value
        if content is not value:
            found[f"{setting}.{key}"] = (
                content.digest if isinstance(content, _Digest) else content_hash(_plain(content))
            )
    return found


@dataclass(frozen=True, slots=True)
class _Digest:
    """Stands for a file or folder."""

    digest: str


def _content(value: Any, bare: bool) -> Any:  # noqa: ANN401 - any argument of a plug-in
    """``value`` with digests in place of paths, or ``value`` itself where it names none."""
    if isinstance(value, Path) or (isinstance(value, str) and (bare or "/" in value or Path(value).suffix)):
        path = Path(value).expanduser() if str(value).startswith("~/") else Path(value)
        try:
            is_path = path.name not in ("", "..") and (path.is_file() or path.is_dir())
        except (OSError, ValueError):  # too long for a name, and the like
            is_path = False
        return _Digest(path_hash(path)) if is_path else value
    items: list[tuple[Any, Any]]
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, list | tuple):
        items = list(enumerate(value))
    else:
        return value
    changed = [(key, _content(one, bare)) for key, one in items]
    if all(new is old for (_, new), (_, old) in zip(changed, items, strict=True)):
        return value
    return {str(key): one for key, one in changed}


def _plain(content: Any) -> Any:  # noqa: ANN401 - as _content
    if isinstance(content, dict):
        return {key: _plain(one) for key, one in content.items()}
    return {"sha256": content.digest} if isinstance(content, _Digest) else repr(content)


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
    """The name of the run's folder, of at most 240 bytes."""
    slug = "".join(c if c.isalnum() or c in ".=-" else "-" for c in label).strip("-")[:80]
    end = f"_s{config.seed}_{full_hash[:8]}"
    name = f"{config.task}_{config.split}_{config.pool}_{slug}".translate(str.maketrans("/:", "--"))
    name = NO_NAME.sub("-", name).encode("utf-8", "replace")[: LONGEST_NAME - len(end)].decode("utf-8", "ignore")
    return name + end


def check_source(folder: Path, meta: RunMeta) -> None:
    """Refuse to finish a run with a router whose source was edited since the run was begun.

    Raises:
        MixrouteError: it was, or ``run.json`` does not say.
    """
    begun = read_meta(folder).provenance.get("router") or {}
    if "sha256" not in begun:
        raise MixrouteError(
            f"{folder / RUN} does not say which source its router had (provenance.router.sha256): restore the file, or "
            "delete that folder"
        )
    if begun["sha256"] != meta.provenance["router"]["sha256"]:
        raise MixrouteError(
            f"the source of router '{meta.router}' has changed since {folder} was begun: delete that folder, or use "
            "another --out"
        )


def other_machine_note(folder: Path, meta: RunMeta) -> str:
    """What to say of a run that goes on with other packages or on another kind of machine; empty where it does not."""
    begun, now = (
        {key: kind_of(one.provenance)[key] for key in ("packages", "hardware")} for one in (read_meta(folder), meta)
    )
    for what, before, after in differences(begun, now):
        return (
            f"{folder} was begun with {what} {quoted(before)} and goes on with {quoted(after)}: its {RUN} names the "
            "first, and the last digits may differ between its episodes"
        )
    return ""
