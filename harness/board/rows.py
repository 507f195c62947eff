"""One row of the board: its fields, and how they follow from the episodes behind it. See docs/board.md."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from harness.board.claims import Claim, claims_of
from harness.board.costs import charge_errors, mean_cost, relative_cost
from harness.board.curves import RoutingMetrics
from harness.board.runs import RunsAcrossSeeds, group_conditions
from harness.board.significance import Against
from harness.data import HIGH
from harness.metrics import Estimate, clustered_mean, collapse_index
from harness.traces.cost import COST_MODELS, Costs
from harness.traces.read import EpisodeNumbers, Run


class Kind(msgspec.Struct, frozen=True):
    """Success on the instances of one kind; ``n`` counts instances."""

    n: int
    success: Estimate


class Tokens(msgspec.Struct, frozen=True):
    """Mean tokens of an episode."""

    input: float
    """Prompt tokens computed."""
    cached: float
    """Prompt tokens that the same model had in its cache."""
    output: float
    """Tokens decoded."""


class Source(msgspec.Struct, frozen=True):
    """A run folder behind a row; ``folder`` is its name without the path."""

    folder: str
    id: str
    hash: str
    seed: int
    command: str
    """The command that started the run."""
    commit: str
    """The repository's commit at that time; with ``-dirty`` where files had been changed."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One router on one task, split, pool and group, over all its seeds. Shares and success are fractions of 1."""

    task: str
    split: str
    pool: str
    group: str
    router: str
    label: str
    instances: int
    """Distinct instances with at least one episode."""
    episodes: int
    planned: int
    """Episodes that the runs were to play; more than ``episodes`` where a run is incomplete."""
    errors: int
    """Episodes that ended in an error; each counts as a failure, and costs at least what always-high does."""
    seeds: int
    success: Estimate
    score: Estimate
    by_kind: dict[str, Kind]
    steps: float | None
    """Mean steps of an episode."""
    invalid_share: float | None
    high_share: float | None
    cost: Costs
    """Summed cost over that of always-high on the same episodes."""
    cost_absolute: Costs
    """Mean cost of an episode."""
    curve: str
    """Name of the curve that it is a point of."""
    routing_metrics: RoutingMetrics
    collapse: float | None
    """Share of episodes in which one model took every step."""
    tokens: dict[str, Tokens]
    """Keyed by model of the pool."""
    against: list[Against]
    """Its success against that of other rows."""
    claims: list[Claim]
    """What papers say of this router on this task, with other models: not measured here."""
    pareto: bool
    entry: list[Source]
    protocol: dict[str, Any]
    """The conditions of the group: the task's protocol, the run's mode, and the models."""
    notes: list[str]

    @property
    def complete(self) -> bool:
        """Whether every planned episode was played."""
        return self.episodes == self.planned


@dataclass(frozen=True, slots=True)
class RowEstimates:
    """The part of a row that the other rows of its section are compared by."""

    runs: RunsAcrossSeeds
    success: Estimate
    high_share: float | None
    cost: Costs
    cost_absolute: Costs
    notes: tuple[str, ...]


def estimate(runs: RunsAcrossSeeds, references: Sequence[RunsAcrossSeeds]) -> RowEstimates:
    """The estimates of one row, its cost normalised by the first of ``references`` (the section's always-high)."""
    if references:
        runs = replace(runs, played=charge_errors(runs.played, references[0].played))
    played = runs.played
    steps = sum(episode.steps for episode in played)
    cost, limits = relative_cost(played, [(one.meta.label, one.played) for one in references])
    return RowEstimates(
        runs=runs,
        success=_success(played),
        high_share=sum(e.high for e in played) / steps if steps and HIGH in runs.meta.models else None,
        cost=cost,
        cost_absolute=mean_cost([episode.cost for episode in played]),
        notes=(*_notes(runs), *limits),
    )


def make_row(
    own: RowEstimates, *, against: list[Against], routing_metrics: RoutingMetrics, pareto: bool, notes: Iterable[str]
) -> Row:
    """The whole row.

    Args:
        own: Its estimates.
        against: Its comparisons with other rows of the section.
        routing_metrics: Its metrics against always-low and always-high.
        pareto: Whether it is on the section's Pareto front.
        notes: Notes beside those of its estimates.
    """
    meta, played = own.runs.meta, own.runs.played
    steps = sum(episode.steps for episode in played)
    judged = any(episode.judged for episode in played)
    return Row(
        task=meta.task,
        split=meta.split,
        pool=meta.pool,
        group=meta.group,
        router=meta.router,
        label=meta.label,
        instances=len({episode.instance for episode in played}),
        episodes=len(played),
        planned=own.runs.planned,
        errors=own.runs.errors,
        seeds=len({run.meta.seed for run in own.runs.runs}),
        success=own.success,
        score=clustered_mean([e.score for e in played], [e.instance for e in played]),
        by_kind=_by_kind(played),
        steps=steps / len(played) if played else None,
        invalid_share=sum(e.invalid for e in played) / steps if judged else None,
        high_share=own.high_share,
        cost=own.cost,
        cost_absolute=own.cost_absolute,
        curve=meta.curve,
        routing_metrics=routing_metrics,
        collapse=collapse_index([e.high / e.steps for e in played if e.steps]) if HIGH in meta.models else None,
        tokens=_tokens(played, meta.models),
        against=against,
        claims=claims_of(meta.router, meta.task),
        pareto=pareto,
        entry=[_source(run) for run in own.runs.runs],
        protocol=group_conditions(meta),
        notes=[*own.notes, *notes],
    )


def _source(run: Run) -> Source:
    command, git = run.meta.provenance.get("command"), run.meta.provenance.get("git")
    commit = f"{git.get('commit', '')}{'-dirty' if git.get('dirty') else ''}" if isinstance(git, dict) else ""
    return Source(run.folder.name, run.meta.id, run.meta.hash, run.meta.seed, str(command or ""), commit)


def _tokens(played: Sequence[EpisodeNumbers], models: Iterable[str]) -> dict[str, Tokens]:
    count = max(1, len(played))
    sums = {
        name: [sum(one.tokens[name][place] for one in played if name in one.tokens) for place in range(3)]
        for name in models
    }
    return {name: Tokens(*(value / count for value in values)) for name, values in sorted(sums.items())}


def _success(played: Iterable[EpisodeNumbers]) -> Estimate:
    played = list(played)
    return clustered_mean([bool(e.success) for e in played], [e.instance for e in played])


def _by_kind(played: Iterable[EpisodeNumbers]) -> dict[str, Kind]:
    kinds: defaultdict[str, list[EpisodeNumbers]] = defaultdict(list)
    for episode in played:
        kinds[episode.kind].append(episode)
    if set(kinds) <= {""}:
        return {}
    return {kind: Kind(len({e.instance for e in some}), _success(some)) for kind, some in sorted(kinds.items())}


def _notes(runs: RunsAcrossSeeds) -> list[str]:
    notes = []
    count = len(runs.played)
    if not runs.complete:
        notes.append(
            f"incomplete: {count} of {runs.planned} planned episodes ({count / runs.planned:.1%}); "
            "kept off the Pareto front"
        )
    if runs.errors:
        notes.append(
            f"{runs.errors} of {count} episodes ended in an error: each is charged at least what always-high costs on "
            "its instance, where that is known; kept off the Pareto front"
        )
    for name, model in COST_MODELS.items():
        unknown = sum(episode.cost[name] is None for episode in runs.played)
        if unknown:
            notes.append(f"no {model.heading}: {unknown} of {count} episodes have no measured times")
    if any(run.meta.fitted != runs.meta.fitted for run in runs.runs):
        notes.append("router arguments were fitted for each seed apart")
    return notes
