"""All checks of one entry."""

from __future__ import annotations

import json
import lzma
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from harness.backends.encoding import Encoder
from harness.contracts import Router, Task
from harness.engine.identity import run_hash, run_id
from harness.engine.runner import open_models, sample
from harness.errors import MixrouteError
from harness.plugins import open_router, open_task
from harness.pool import load_pool
from harness.provenance import source_of
from harness.records import Episode, EpisodeTiming, RunMeta
from harness.registry import routers
from harness.suite import RunConfig
from harness.traces.contamination import SEEN, instance_key, read_seen, seen_file, trained_on
from harness.traces.read import model_cards
from harness.traces.store import SCHEMA, read_episodes, read_meta, read_timings
from harness.verify.ledger import LedgerCheck
from harness.verify.replay import ReplayCheck, prompts_of
from harness.verify.report import Check, Verdict
from harness.verify.routing import RoutingCheck

TOGETHER = 64
"""Episodes whose prompts are held at once; the more, the fuller are the passes of a learned router."""

Opener = Callable[[str, str, str], Task]
"""From a task's name, split and arguments in JSON to the task."""


def opened(name: str, split: str, args: str) -> Task:
    """An opener that opens anew each time."""
    return open_task(name, split=split, **json.loads(args))


def verify_entry(folder: Path, opener: Opener = opened, *, load_models: bool = False) -> Verdict:
    """Verify a run or entry folder: everything that can be told without running a model.

    Problems of the entry are findings. Code that it names by a file is not run.

    Args:
        folder: What to verify.
        opener: Opens its task.
        load_models: Whether to load the pool's weights and compare them with the entry's model cards, too.
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
        return Verdict(folder.name, [files.finding()])
    if seen_file(folder) is None:
        files.problem("", f"{SEEN} is missing: run it again with this version")
    checks += [_identity(meta), _complete(meta, episodes), _apart(meta, seen), _measured(episodes, timings)]
    checks.append(_models(meta, load=load_models))
    checks += _against_task(meta, episodes, opener)
    return Verdict(folder.name, [check.finding() for check in checks])


def _identity(meta: RunMeta) -> Check:
    check = Check("name and hashes are those of the content")
    check.expect("run.json", "schema", meta.schema, SCHEMA)
    try:
        config = RunConfig.model_validate(meta.config)
    except ValueError as error:
        check.problem("run.json", f"config is not valid: {' '.join(str(error).split())[:200]}")
        return check
    fingerprints = {name: str(card.get("fingerprint")) for name, card in meta.models.items()}
    full, group = run_hash(config, meta.protocol, fingerprints, meta.fitted)
    check.expect("run.json", "hash", meta.hash, full)
    check.expect("run.json", "group", meta.group, group)
    check.expect("run.json", "id", meta.id, run_id(config, meta.pool, meta.label, full))
    told = (meta.split, meta.router, meta.seed)
    check.expect("run.json", "split, router and seed", told, (config.split, config.router, config.seed))
    if not meta.provenance.get("packages") or not meta.provenance.get("hardware"):
        check.problem("run.json", "provenance lacks packages or hardware")
    return check


def _complete(meta: RunMeta, episodes: Sequence[Episode]) -> Check:
    check = Check("every instance was played once, with the run's seed")
    counts = Counter(episode.instance for episode in episodes)
    for instance, count in counts.items():
        if count > 1:
            check.problem(instance, f"played {count} times")
    for instance in sorted(set(meta.instances) - set(counts)):
        check.problem(instance, "no episode")
    for instance in sorted(set(counts) - set(meta.instances)):
        check.problem(instance, "not among the instances of run.json")
    if len(set(meta.instances)) < len(meta.instances):
        check.problem("run.json", "an instance is listed twice")
    for episode in episodes:
        check.expect(episode.instance, "run", episode.run, meta.hash)
        check.expect(episode.instance, "seed", episode.seed, meta.seed)
        check.expect(episode.instance, "schema", episode.schema, SCHEMA)
    return check


def _apart(meta: RunMeta, seen: frozenset[str]) -> Check:
    check = Check("nothing was trained on what is reported")
    known = set(seen)
    try:  # what we ship is known to us, whatever the entry says
        for spec in load_pool(str(meta.config.get("pool"))).models.values():
            known |= trained_on(spec)
    except (MixrouteError, OSError):
        pass
    for instance in meta.instances:
        if instance_key(meta.task, instance) in known:
            check.problem(instance, "a model or the router was trained on it")
    return check


def _measured(episodes: Sequence[Episode], timings: dict[str, EpisodeTiming]) -> Check:
    check = Check("measured times fit the calls")
    for episode in episodes:
        timing = timings.get(episode.instance)
        if timing is None:
            check.problem(episode.instance, "no measured times")
            continue
        shape = [len(step.calls) for step in timing.steps]
        check.expect(episode.instance, "calls in the times", shape, [len(step.calls) for step in episode.steps])
        values = [timing.reset]
        for step in timing.steps:
            values += [step.environment, step.router]
            values += [v for call in step.calls for v in (call.queue, call.prefill, call.decode, call.latency)]
        if min(values) < 0:
            check.problem(episode.instance, "a negative time")
    return check


def _models(meta: RunMeta, *, load: bool) -> Check:
    """The cards that costs are computed from."""
    check = Check("the model cards fit the models")
    for name, card in meta.models.items():
        bits = round(8 * card["weight_bytes"] / max(1, card["parameters"]), 3)
        check.expect(f"model '{name}'", "bits", card["bits"], bits)
    if not load:
        return check
    try:
        with open_models(load_pool(str(meta.config.get("pool"))), meta.config["mode"], None) as models:
            for name, model in models.items():
                ours, theirs = asdict(model.card()), meta.models.get(name, {})
                for key in ("fingerprint", "weight_bytes", "parameters", "bits"):
                    check.expect(f"model '{name}'", key, theirs.get(key), ours[key])
    except (MixrouteError, KeyError) as error:
        check.reason = f"the pool cannot be loaded here: {' '.join(str(error).split())[:300]}"
    return check


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
    encoders, reason = _encoders(meta)
    ledger = LedgerCheck(list(meta.models), encoders, task.max_tokens)
    if reason:
        ledger.tokens.reason = reason
    replay = ReplayCheck(task, {one.id: one for one in chosen})
    routing = RoutingCheck(*_router(meta, config), task, encoders)
    _same_class(meta, config, routing.routing)
    for start in range(0, len(episodes), TOGETHER):
        several = [(episode, prompts_of(episode, task)) for episode in episodes[start : start + TOGETHER]]
        for episode, prompts in several:
            ledger.episode(episode, prompts)
            replay.episode(episode)
        routing.episodes(several)
    return [protocol, ledger.calls, ledger.tokens, replay.replay, replay.actions, replay.ends, routing.routing]


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON
    return json.loads(json.dumps(value))


def _encoders(meta: RunMeta) -> tuple[dict[str, Encoder], str]:
    """The tokenizers of the pool's models, and why some are missing."""
    from harness.weights.adapters import weights_folder

    found: dict[str, Encoder] = {}
    try:
        pool = load_pool(str(meta.config.get("pool")))
        for name in meta.models:
            spec = pool.models[name].model_copy(update={"adapter": None})
            found[name] = _encoder(str(weights_folder(spec)))
    except (MixrouteError, KeyError, OSError, ValueError) as error:
        return {}, f"the tokenizer of the pool is not at hand: {' '.join(str(error).split())[:300]}"
    return found, ""


_GENERIC = ("TokenizersBackend", "PreTrainedTokenizerFast")
"""Classes that say no more than their file; AutoTokenizer would give the same, but loads the code of all models first,
which takes seconds."""


@cache
def _encoder(folder: str) -> Encoder:
    from transformers import PreTrainedTokenizerFast

    settings = Path(folder) / "tokenizer_config.json"
    own = json.loads(settings.read_text(encoding="utf-8")).get("tokenizer_class") if settings.exists() else None
    if own in _GENERIC and settings.with_name("tokenizer.json").exists():
        return Encoder(PreTrainedTokenizerFast.from_pretrained(folder))
    from transformers import AutoTokenizer

    return Encoder(AutoTokenizer.from_pretrained(folder))


def _router(meta: RunMeta, config: RunConfig) -> tuple[Router | None, list[str], str]:
    models = list(meta.models)
    if ".py:" in config.router:  # an entry's own code is never run
        return None, models, f"router {config.router} is not installed: install it to have its decisions checked"
    try:
        router = open_router(config.router, **{**config.router_args, **meta.fitted})
    except MixrouteError as error:
        return None, models, f"the router cannot be had here: {error}"
    told = (meta.provenance.get("router") or {}).get("sha256")
    same = told == source_of(type(router))["sha256"]
    return router, models, "" if same else f"the source of router '{config.router}' is not the one that was run"


def _same_class(meta: RunMeta, config: RunConfig, check: Check) -> None:
    """Whether the class that is said to have run is the one that the router's name stands for."""
    told = (meta.provenance.get("router") or {}).get("class")
    if config.router in routers.names():
        check.expect("run.json", "the router's class", told, source_of(routers.get(config.router))["class"])
