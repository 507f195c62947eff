"""Checks of an entry's own files against one another, without its task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict

from harness.contracts import Router, Trained
from harness.engine.identity import run_hash, run_id
from harness.engine.opening import open_models
from harness.errors import MixrouteError
from harness.files import is_file_name
from harness.records import Episode, EpisodeTiming, RunMeta
from harness.suite import RunConfig
from harness.text import one_line
from harness.traces.contamination import instance_key, trained_on
from harness.traces.store import SCHEMA
from harness.verify.pools import Pools, pool_of
from harness.verify.report import Check

MOST_ERRORS = 0.02
"""Largest share of episodes of an entry that may end in an error."""


def check_identity(meta: RunMeta) -> Check:
    """Compare hashes, id and other derived fields of ``run.json`` with its configuration."""
    check = Check("name and hashes are those of the content")
    check.expect("run.json", "schema", meta.schema, SCHEMA)
    try:
        config = RunConfig.model_validate(meta.config)
    except ValueError as error:
        check.problem("run.json", f"config is not valid: {one_line(error)}")
        return check
    for place in meta.content:
        setting, _, argument = place.partition(".")
        named = {"task_args": config.task_args, "router_args": config.router_args}.get(setting, {})
        files = {"task": config.task, "router": config.router}
        if argument not in named if argument else not is_file_name(files.get(setting, "")):
            check.problem("run.json", f"content has '{place}', which names no file of config")
    fingerprints = {name: str(card.get("fingerprint")) for name, card in meta.models.items()}
    full, group = run_hash(config, meta.protocol, fingerprints, meta.fitted, meta.content)
    check.expect("run.json", "hash", meta.hash, full)
    check.expect("run.json", "group", meta.group, group)
    check.expect("run.json", "id", meta.id, run_id(config, meta.label, full))
    stated = (meta.split, meta.pool, meta.router, meta.seed)
    configured = (config.split, config.pool, config.router, config.seed)
    check.expect("run.json", "split, pool, router and seed", stated, configured)
    if not meta.provenance.get("packages") or not meta.provenance.get("hardware"):
        check.problem("run.json", "provenance lacks packages or hardware")
    return check


def check_completeness(meta: RunMeta, episodes: Iterable[Episode]) -> Check:
    """Compare the episodes with the instances of ``run.json``."""
    check = Check("every instance was played once, with the run's seed")
    counts: Counter[str] = Counter()
    for episode in episodes:
        counts[episode.instance] += 1
        check.expect(episode.instance, "run", episode.run, meta.hash)
        check.expect(episode.instance, "seed", episode.seed, meta.seed)
        check.expect(episode.instance, "schema", episode.schema, SCHEMA)
    for instance, count in counts.items():
        if count > 1:
            check.problem(instance, f"played {count} times")
    for instance in sorted(set(meta.instances) - set(counts)):
        check.problem(instance, "no episode")
    for instance in sorted(set(counts) - set(meta.instances)):
        check.problem(instance, "not among the instances of run.json")
    if len(set(meta.instances)) < len(meta.instances):
        check.problem("run.json", "an instance is listed twice")
    return check


def check_errors(meta: RunMeta, episodes: Iterable[Episode]) -> Check:
    """Count the episodes that ended in an error."""
    check = Check(f"at most {MOST_ERRORS:.0%} of the episodes ended in an error")
    errors = sum(episode.error is not None for episode in episodes)
    if errors > MOST_ERRORS * len(meta.instances):
        check.problem("", f"{errors} of {len(meta.instances)} did: find out why, and run it again")
    return check


def check_contamination(meta: RunMeta, seen: frozenset[str], router: Router | None, pools: Pools) -> Check:
    """Look for reported instances that a model or the router was trained on.

    Args:
        meta: The content of ``run.json``.
        seen: The entry's own list, which is not believed alone.
        router: The opened router, which knows its checkpoint's list.
        pools: Pools that are not shipped.
    """
    check = Check("nothing was trained on what is reported")
    known = set(seen)
    if isinstance(router, Trained):
        known |= set(router.trained_on())
    try:  # whatever the entry says, these are shipped with this version
        for spec in pool_of(meta.pool, pools).models.values():
            known |= trained_on(spec)
    except (MixrouteError, OSError):
        pass
    for instance in meta.instances:
        if instance_key(meta.task, instance) in known:
            check.problem(instance, "a model or the router was trained on it")
    return check


def check_timings(timed: Iterable[tuple[Episode, EpisodeTiming | None]]) -> Check:
    """Compare the shape of measured times with their episodes."""
    check = Check("measured times fit the calls")
    for episode, timing in timed:
        if timing is None:
            check.problem(episode.instance, "no measured times")
            continue
        shape = [len(step.calls) for step in timing.steps]
        check.expect(episode.instance, "calls in the times", shape, [len(step.calls) for step in episode.steps])
        values = [timing.reset]
        for step in timing.steps:
            values += [step.environment, step.router]
            values += [v for call in step.calls for v in (call.queue, call.prefill, call.decode, call.latency)]
        if not all(value >= 0 for value in values):
            check.problem(episode.instance, "a negative time")
    return check


CARDS = "the model cards fit the models"


def check_model_cards(meta: RunMeta) -> Check:
    """Check the model cards, which costs are computed from, in themselves."""
    check = Check(CARDS)
    for name, card in meta.models.items():
        bits = round(8 * card["weight_bytes"] / card["parameters"], 3)
        check.expect(f"model '{name}'", "bits", card["bits"], bits)
    return check


def compare_model_cards(meta: RunMeta, pools: Pools) -> Check:
    """Load the models of the pool and compare them with the model cards; ``pools`` are those that are not shipped."""
    check = check_model_cards(meta)
    try:
        with open_models(pool_of(meta.pool, pools), meta.config["mode"], None) as models:
            for name, model in models.items():
                ours, theirs = asdict(model.card()), meta.models.get(name, {})
                for key in ("fingerprint", "weight_bytes", "parameters", "bits"):
                    check.expect(f"model '{name}'", key, theirs.get(key), ours[key])
    except (MixrouteError, KeyError) as error:
        check.reason = f"the pool cannot be loaded here: {one_line(error)}"
    return check
