"""Runs of every member and of the oracle, read from their traces: which model is right on which query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.engine.opening import OpenTask
from harness.engine.runner import FinishedRun
from harness.errors import MixrouteError
from harness.records import CallRecord
from harness.suite import RouterEntry
from harness.token_statistics import TokenStatistics
from harness.traces.contamination import instance_key
from harness.traces.cost import weight_bytes
from harness.traces.read import model_cards
from harness.training.play import play_runs
from routers.pyramid.recipe import PyramidRecipe

PLAIN, ANCHORED = "plain", "anchored"
"""Ways to ask the oracle: with its own prompt, or with the ensemble's answers in its context."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A model's answer to a query."""

    call: CallRecord
    right: bool
    cost: float
    """Weight bytes that this call read."""

    @property
    def tokens(self) -> TokenStatistics:
        """Statistics of the tokens of its text and the one that ended it."""
        return self.call.statistics.content_and_end


@dataclass(slots=True)
class Query:
    """All answers to one instance."""

    members: dict[str, Answered] = field(default_factory=dict)
    """Answers of the members by name, in the recipe's order."""
    oracle: dict[str, Answered] = field(default_factory=dict)
    """Answers of the oracle by ``PLAIN`` and ``ANCHORED``, as far as it was asked."""


@dataclass(frozen=True, slots=True)
class PlayedQueries:
    """Queries by ``instance_key``, and the models' fingerprints."""

    queries: Mapping[str, Query]
    fingerprints: Mapping[str, str]


def play_queries(recipe: PyramidRecipe, opened: Sequence[OpenTask], folder: Path, ways: Sequence[str]) -> PlayedQueries:
    """Play what is missing, then read all answers.

    Args:
        recipe: Pool, ensemble, seed.
        opened: Tasks to play.
        folder: Folder of the runs.
        ways: Ways to ask the oracle, ``PLAIN`` first.

    Raises:
        MixrouteError: the models cannot play, or an episode ended in an error.
    """
    members = recipe.ensemble()
    routers = [RouterEntry(router="always", args={"model": name}) for name in members]
    if PLAIN in ways:
        routers.append(RouterEntry(router="always", args={"model": recipe.oracle}))
    if ANCHORED in ways:
        routers.append(RouterEntry(router="anchored-oracle", args={"members": members, "oracle": recipe.oracle}))
    runs = play_runs(recipe.name, recipe.pool, opened, routers, [recipe.seed], folder, mode=recipe.mode)
    names = {instance_key(one.task.name, instance.id) for one in opened for instance in one.instances}
    return _read(runs, members, names)


def _read(runs: Sequence[FinishedRun], members: Sequence[str], names: set[str]) -> PlayedQueries:
    queries = {name: Query() for name in sorted(names)}
    fingerprints: dict[str, str] = {}
    for run in runs:
        cards = model_cards(run.folder, run.meta)
        fingerprints |= {name: card.fingerprint for name, card in cards.items()}
        for episode in run.episodes():
            query = queries[instance_key(run.meta.task, episode.instance)]
            if episode.error or not episode.steps:
                raise MixrouteError(
                    f"{run.folder}: {episode.instance} ended in an error ({episode.error}): play it again"
                )
            call = episode.steps[0].calls[-1]
            cost = weight_bytes(call, cards[call.model])
            if cost is None:
                raise MixrouteError(f"{run.folder}: the endpoint of model '{call.model}' did not tell its tokens")
            answer = Answered(call, episode.success, cost)
            if run.router.router == "anchored-oracle":
                query.oracle[ANCHORED] = answer
            elif (model := run.router.args["model"]) in members:
                query.members[model] = answer
            else:
                query.oracle[PLAIN] = answer
    for query in queries.values():
        query.members = {name: query.members[name] for name in members}
    return PlayedQueries(queries, fingerprints)
