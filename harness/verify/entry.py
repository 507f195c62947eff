"""All checks of one entry, and those that need its task."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.contracts import Router, Task, role_of, scaffold_of
from harness.engine.asked import prompts_of
from harness.engine.identity import router_content
from harness.engine.opening import sample
from harness.errors import MixrouteError
from harness.plugins import open_router, open_task
from harness.provenance import source_of
from harness.records import CHAT_TEMPLATE, RunMeta
from harness.suite import RunConfig
from harness.text import one_line
from harness.traces.clock import read_clock, read_clocked
from harness.traces.contamination import SEEN, read_seen, seen_file
from harness.traces.read import model_cards
from harness.traces.store import read_episodes, read_meta
from harness.verify.clocks import ClockCheck
from harness.verify.consistency import (
    EpisodeChecks,
    check_contamination,
    check_identity,
    check_model_cards,
)
from harness.verify.encoders import open_encoders
from harness.verify.ledger import LedgerCheck
from harness.verify.names import check_names
from harness.verify.parts import PartsCheck
from harness.verify.pools import Pools
from harness.verify.refit import Refit
from harness.verify.replay import ReplayCheck
from harness.verify.report import Check, EntryVerdict
from harness.verify.routing import RoutingCheck

FILES = "the files are whole and can be read"
ROUTING = "the router decides as the trace says"
NO_TASK = "the task cannot be opened here"

EPISODES_AT_ONCE = 64
"""Episodes whose decisions are replayed side by side; the more, the fuller are the passes of a learned router."""

Opener = Callable[[str, str, str], Task]
"""Opens a task by its name, split and arguments in JSON."""


def open_from_json(name: str, split: str, args: str) -> Task:
    """Open a task with arguments in JSON; an ``Opener``."""
    return open_task(name, split=split, **json.loads(args))


def verify_entry(
    folder: Path,
    opener: Opener = open_from_json,
    pools: Pools = MappingProxyType({}),
    *,
    own: bool = False,
    refit: Refit | None = None,
) -> EntryVerdict:
    """Check everything in a run or entry folder that can be checked without running a model.

    Problems of the entry are in the verdict and raise nothing.

    Args:
        folder: The run or entry.
        opener: Opens its task.
        pools: Pools that are not shipped.
        own: Whether the run is the caller's own, so that the files which it names may be read and run. Otherwise an
            entry that names a file fails, and nothing is opened.
        refit: Published calibration runs, for published entries.
    """
    files = Check(FILES)
    try:
        meta = read_meta(folder)
        played = EpisodeChecks(meta)
        clock = read_clock(folder, meta)
        timed = None if clock is None else ClockCheck(meta, clock)
        for episode, timing, clocked in read_clocked(folder):
            played.episode(episode, timing, clocked)
            if timed is not None:
                timed.episode(episode)
        played.finish()
        if timed is not None:
            timed.finish()
        model_cards(folder, meta)
        seen = read_seen(folder)
    except MixrouteError as error:
        files.problem("", str(error))
        return EntryVerdict(folder.name, [files.result()])
    if seen_file(folder) is None:
        files.problem("", f"{SEEN} is missing: run it again with this version")
    checks = [files, check_identity(meta), played.completeness, played.timings, check_model_cards(meta)]
    checks += [] if timed is None else [timed.check]
    try:
        config = RunConfig.model_validate(meta.config)
    except ValueError:  # check_identity says what is wrong
        return EntryVerdict(folder.name, [check.result() for check in checks])
    if not own:
        checks += [played.errors, names := check_names(meta, config)]
    if own or not names.failed:
        routing = Check(ROUTING)
        router = _build_router(meta, config, routing)
        checks.append(check_contamination(meta, seen, router, pools))
        if refit is not None:
            checks.append(refit.check(meta, config))
        checks += _against_task(meta, config, folder, opener, pools, router, routing)
    return EntryVerdict(folder.name, [check.result() for check in checks], played.rates.means())


def _build_router(meta: RunMeta, config: RunConfig, check: Check) -> Router | None:
    try:
        router = open_router(config.router, **{**config.router_args, **meta.fitted})
    except MixrouteError as error:
        check.problem("run.json", f"the router cannot be built: {error}")
        return None
    recorded = (meta.provenance.get("router") or {}).get("class")
    check.expect("run.json", "the router's class", recorded, source_of(type(router))["class"])
    check.expect("run.json", "the router's role", meta.role, role_of(router))
    for setting, digest in router_content(router).items():
        check.expect("run.json", f"the content of {setting}", meta.content.get(setting), digest)
    return router


def _against_task(
    meta: RunMeta,
    config: RunConfig,
    folder: Path,
    opener: Opener,
    pools: Pools,
    router: Router | None,
    routed: Check,
) -> list[Check]:
    """The checks that need the task; ``routed`` already holds what is known of the router."""
    protocol = Check("the protocol and the instances are those of the task")
    try:
        task = opener(config.task, config.split, json.dumps(config.task_args, sort_keys=True))
        chosen = sample(task.instances(), config.limit)
    except (MixrouteError, ValueError, OSError) as error:
        protocol.reason = f"{NO_TASK}: {one_line(error)}"
        return [protocol, routed]
    ours, theirs = (_plain(dict(found)) for found in (task.protocol(), meta.protocol))
    for key in sorted({*ours, *theirs} - {CHAT_TEMPLATE}):  # that is of the models
        protocol.expect("protocol", key, theirs.get(key), ours.get(key))
    protocol.expect("run.json", "task", meta.task, task.name)
    if sorted(meta.instances) != sorted(one.id for one in chosen):
        protocol.problem("run.json", "its instances are not those that the task gives for this split and limit")
    encoders, reason = open_encoders(meta, pools)
    greedy, deterministic = config.temperature == 0, config.mode == "deterministic"
    ledger = LedgerCheck(
        list(meta.models), encoders, task.max_tokens, config.kv_cache, greedy=greedy, deterministic=deterministic
    )
    parts = PartsCheck(scaffold_of(task), encoders)
    if reason:
        ledger.tokens.reason = parts.parts.reason = reason
    replay = ReplayCheck(task, {one.id: one for one in chosen})
    routing = RoutingCheck(router, list(meta.models), _edited(meta, router), task, encoders, routed, config.kv_cache)
    episodes = read_episodes(folder)
    while several := [(episode, prompts_of(episode, task)) for episode in islice(episodes, EPISODES_AT_ONCE)]:
        for episode, prompts in several:
            ledger.episode(episode, prompts)
            parts.episode(episode)
            replay.episode(episode)
        routing.episodes(several)
    ledger.finish()
    parts.finish()
    if ledger.continued and routed.reason is not None and router is not None and router.granularity != "token":
        ledger.tokens.problem("", f"{ledger.continued} calls have more prompt tokens than their prompts")
    checks = [ledger.calls, ledger.tokens, *([parts.parts] if parts.applies else [])]
    return [protocol, *checks, replay.replay, replay.actions, replay.ends, routed]


def _edited(meta: RunMeta, router: Router | None) -> str:
    """Why the router may decide otherwise than when it was run; empty if nothing is known."""
    recorded = (meta.provenance.get("router") or {}).get("sha256")
    if router is None or recorded == source_of(type(router))["sha256"]:
        return ""
    return f"the source of router '{meta.router}' is not the one that was run, play it again"


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON
    return json.loads(json.dumps(value))
