"""Checks of an entry's own files against one another, without its task."""

from __future__ import annotations

from collections import Counter
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
from harness.verify.rates import TokenRates
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
    for name in config.kv_cache.shared if config.kv_cache else ():
        if name not in meta.models:
            check.problem("run.json", f"config.kv_cache names '{name}', which is no model of it")
    if not meta.provenance.get("packages") or not meta.provenance.get("hardware"):
        check.problem("run.json", "provenance lacks packages or hardware")
    return check


class EpisodeChecks:
    """Checks of an entry's episodes, all made in one pass over them.

    Args:
        meta: The content of ``run.json``.
    """

    def __init__(self, meta: RunMeta) -> None:
        self.completeness = Check("every instance was played once, with the run's seed")
        self.timings = Check("measured times fit the calls")
        self.errors = Check(f"at most {MOST_ERRORS:.0%} of the episodes ended in an error")
        self.rates = TokenRates()
        self._meta = meta
        self._played: Counter[str] = Counter()
        self._failed = 0

    def episode(self, episode: Episode, timing: EpisodeTiming | None, clocked: EpisodeTiming | None = None) -> None:
        """Check one episode with the times at which it was played; ``clocked`` are those of its clock."""
        self._played[episode.instance] += 1
        self._failed += episode.error is not None
        self.completeness.expect(episode.instance, "run", episode.run, self._meta.hash)
        self.completeness.expect(episode.instance, "seed", episode.seed, self._meta.seed)
        self.completeness.expect(episode.instance, "schema", episode.schema, SCHEMA)
        self.rates.add(episode, timing, clocked)
        if timing is None:
            self.timings.problem(episode.instance, "no measured times")
            return
        shape = [len(step.calls) for step in timing.steps]
        self.timings.expect(episode.instance, "calls in the times", shape, [len(step.calls) for step in episode.steps])
        values = [timing.reset]
        for step in timing.steps:
            values += [step.environment, step.router]
            values += [v for call in step.calls for v in (call.queue, call.prefill, call.decode, call.latency)]
        if not all(value >= 0 for value in values):
            self.timings.problem(episode.instance, "a negative time")

    def finish(self) -> None:
        """Compare the episodes as a whole with the instances of ``run.json``."""
        planned, played = self._meta.instances, self._played
        for instance, count in played.items():
            if count > 1:
                self.completeness.problem(instance, f"played {count} times")
        for instance in sorted(set(planned) - set(played)):
            self.completeness.problem(instance, "no episode")
        for instance in sorted(set(played) - set(planned)):
            self.completeness.problem(instance, "not among the instances of run.json")
        if len(set(planned)) < len(planned):
            self.completeness.problem("run.json", "an instance is listed twice")
        if self._failed > MOST_ERRORS * len(planned):
            self.errors.problem("", f"{self._failed} of {len(planned)} did: find out why, and run it again")


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
