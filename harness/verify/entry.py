"""All checks of one entry, and those that need its task."""

from __future__ import annotations

import json
import lzma
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.contracts import Router, Task
from harness.engine.opening import sample
from harness.errors import MixrouteError
from harness.plugins import open_router, open_task
from harness.provenance import source_of
from harness.records import Episode, RunMeta
from harness.registry import routers
from harness.suite import RunConfig
from harness.traces.contamination import SEEN, read_seen, seen_file
from harness.traces.read import model_cards
from harness.traces.store import read_episodes, read_meta, read_timings
from harness.verify.consistency import (
    check_completeness,
    check_contamination,
    check_identity,
    check_model_cards,
    check_timings,
)
from harness.verify.encoders import open_encoders
from harness.verify.ledger import LedgerCheck
from harness.verify.replay import ReplayCheck, prompts_of
from harness.verify.report import Check, EntryVerdict
from harness.verify.routing import RoutingCheck

EPISODES_AT_ONCE = 64
"""Episodes whose decisions are replayed side by side; the more, the fuller are the passes of a learned router."""

Opener = Callable[[str, str, str], Task]
"""Opens a task by its name, split and arguments in JSON."""


def open_from_json(name: str, split: str, args: str) -> Task:
    """Open a task with arguments in JSON; an ``Opener``."""
    return open_task(name, split=split, **json.loads(args))


def verify_entry(folder: Path, opener: Opener = open_from_json, *, load_models: bool = False) -> EntryVerdict:
    """Check everything in a run or entry folder that can be checked without running a model.

    Problems of the entry are in the verdict and raise nothing. Code that it names by a file is not run.

    Args:
        folder: The run or entry.
        opener: Opens its task.
        load_models: Whether to load the pool's weights, too, and compare them with the entry's model cards.
    """
    files = Check("the files are whole and can be read")
    checks = [files]
    try:
        meta = read_meta(folder)
        episodes = list(read_episodes(folder))
        timings = {timing.instance: timing for timing in read_timings(folder)}
        model_cards(folder, meta)
        seen = read_seen(folder)
    except (MixrouteError, OSError, lzma.LZMAError) as error:
        files.problem("", str(error))
        return EntryVerdict(folder.name, [files.result()])
    if seen_file(folder) is None:
        files.problem("", f"{SEEN} is missing: run it again with this version")
    checks += [
        check_identity(meta),
        check_completeness(meta, episodes),
        check_contamination(meta, seen),
        check_timings(episodes, timings),
    ]
    checks.append(check_model_cards(meta, load=load_models))
    checks += _against_task(meta, episodes, opener)
    return EntryVerdict(folder.name, [check.result() for check in checks])


def _against_task(meta: RunMeta, episodes: Sequence[Episode], opener: Opener) -> list[Check]:
    """The checks that need the task."""
    protocol = Check("the protocol and the instances are those of the task")
    try:
        config = RunConfig.model_validate(meta.config)
        if ".py:" in config.task:
            raise MixrouteError(f"{config.task} is a file of the entry's author, which is not run")
        task = opener(config.task, config.split, json.dumps(config.task_args, sort_keys=True))
        chosen = sample(task.instances(), config.limit)
    except (MixrouteError, ValueError, OSError) as error:
        protocol.reason = f"the task cannot be opened here: {' '.join(str(error).split())[:300]}"
        return [protocol]
    ours, theirs = (_plain(dict(found)) for found in (task.protocol(), meta.protocol))
    for key in sorted({*ours, *theirs}):
        protocol.expect("protocol", key, theirs.get(key), ours.get(key))
    protocol.expect("run.json", "task", meta.task, task.name)
    if sorted(meta.instances) != sorted(one.id for one in chosen):
        protocol.problem("run.json", "its instances are not those that the task gives for this split and limit")
    encoders, reason = open_encoders(meta)
    ledger = LedgerCheck(list(meta.models), encoders, task.max_tokens)
    if reason:
        ledger.tokens.reason = reason
    replay = ReplayCheck(task, {one.id: one for one in chosen})
    routing = RoutingCheck(*_build_router(meta, config), task, encoders)
    _check_class(meta, config, routing.routing)
    for start in range(0, len(episodes), EPISODES_AT_ONCE):
        several = [(episode, prompts_of(episode, task)) for episode in episodes[start : start + EPISODES_AT_ONCE]]
        for episode, prompts in several:
            ledger.episode(episode, prompts)
            replay.episode(episode)
        routing.episodes(several)
    return [protocol, ledger.calls, ledger.tokens, replay.replay, replay.actions, replay.ends, routing.routing]


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON
    return json.loads(json.dumps(value))


def _build_router(meta: RunMeta, config: RunConfig) -> tuple[Router | None, list[str], str]:
    models = list(meta.models)
    if ".py:" in config.router:  # an entry's own code is never run
        return None, models, f"router {config.router} is not installed: install it to have its decisions checked"
    try:
        router = open_router(config.router, **{**config.router_args, **meta.fitted})
    except MixrouteError as error:
        return None, models, f"the router cannot be built here: {error}"
    recorded = (meta.provenance.get("router") or {}).get("sha256")
    same = recorded == source_of(type(router))["sha256"]
    return router, models, "" if same else f"the source of router '{config.router}' is not the one that was run"


def _check_class(meta: RunMeta, config: RunConfig, check: Check) -> None:
    """Compare the recorded class of the router with the one that its name stands for."""
    recorded = (meta.provenance.get("router") or {}).get("class")
    if config.router in routers.names():
        check.expect("run.json", "the router's class", recorded, source_of(routers.get(config.router))["class"])
