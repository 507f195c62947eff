"""Who is right on which query: ordinary runs of every member and the oracle, read from their traces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from harness.engine.runner import OpenTask, SuiteRunner
from harness.errors import MixrouteError
from harness.records import CallRecord
from harness.suite import RouterEntry, Suite, run_config
from harness.token_statistics import TokenStatistics
from harness.traces.contamination import instance_key
from harness.traces.cost import weight_bytes
from harness.traces.read import model_cards
from harness.traces.store import find_runs, read_episodes, read_meta
from harness.training.play import CONCURRENCY
from routers.pyramid.recipe import PyramidRecipe

PLAIN, ANCHORED = "plain", "anchored"
"""How the oracle is asked: with its own prompt, or with the ensemble's answers before its eyes."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A model's answer to a query."""

    call: CallRecord
    right: bool
    cost: float
    """Weight bytes of this call."""

    @property
    def tokens(self) -> TokenStatistics:
        """Statistics of the tokens of its text and the one that ended it."""
        return self.call.statistics.content_and_end


@dataclass(slots=True)
class Query:
    """All answers to one instance."""

    members: dict[str, Answered] = field(default_factory=dict)
    """By name, in the recipe's order."""
    oracle: dict[str, Answered] = field(default_factory=dict)
    """By ``PLAIN`` and ``ANCHORED``, as far as it was asked."""


@dataclass(frozen=True, slots=True)
class Played:
    """One section of the data: queries by ``instance_key``, and the models' fingerprints."""

    queries: Mapping[str, Query]
    fingerprints: Mapping[str, str]


def play(recipe: PyramidRecipe, opened: Sequence[OpenTask], folder: Path, ways: Sequence[str]) -> Played:
    """Play what is missing, then read it.

    Args:
        recipe: Pool, ensemble, seed.
        opened: What to play.
        folder: Of the runs.
        ways: How the oracle is asked, ``PLAIN`` first.

    Raises:
        MixrouteError: anything that keeps the models from playing, or an answer that ended in an error.
    """
    members = recipe.ensemble()
    routers = [RouterEntry(router="always", args={"model": name}) for name in members]
    if PLAIN in ways:
        routers.append(RouterEntry(router="always", args={"model": recipe.oracle}))
    if ANCHORED in ways:
        routers.append(RouterEntry(router="anchored-oracle", args={"members": members, "oracle": recipe.oracle}))
    suite = Suite(
        schema=1,
        name=recipe.name,
        pool=recipe.pool,
        tasks=[one.entry for one in opened],
        routers=routers,
        seeds=[recipe.seed],
        mode=recipe.mode,
        concurrency=CONCURRENCY,
    )
    SuiteRunner(suite, folder, Console(stderr=True), training_tasks=opened).run()
    wanted = [run_config(suite, one.entry, router, recipe.seed).model_dump() for one in opened for router in routers]
    runs = [run for run in find_runs(folder) if read_meta(run).config in wanted]  # others are of an earlier recipe
    names = {instance_key(one.task.name, instance.id) for one in opened for instance in one.instances}
    return _read(runs, members, names)


def _read(runs: Sequence[Path], members: Sequence[str], names: set[str]) -> Played:
    queries = {name: Query() for name in sorted(names)}
    fingerprints: dict[str, str] = {}
    for run in runs:
        meta = read_meta(run)
        cards = model_cards(run, meta)
        for name, card in cards.items():
            if fingerprints.setdefault(name, card.fingerprint) != card.fingerprint:
                raise MixrouteError(
                    f"{run} was played with other weights of '{name}': delete {run.parent}, train again"
                )
        model = meta.config["router_args"].get("model")
        for episode in read_episodes(run):
            query = queries[instance_key(meta.task, episode.instance)]
            if episode.error or not episode.steps:
                raise MixrouteError(f"{run}: {episode.instance} ended in an error ({episode.error}): play it again")
            call = episode.steps[0].calls[-1]
            answer = Answered(call, episode.success, weight_bytes(call, cards[call.model]))
            if model in members:
                query.members[model] = answer
            else:
                query.oracle[ANCHORED if model is None else PLAIN] = answer
    for query in queries.values():
        query.members = {name: query.members[name] for name in members}
    return Played(queries, fingerprints)
