"""One row of the board: its fields, and how they follow from the episodes behind it. See docs/board.md."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec

from harness.board.budgets import success_by_cost
from harness.board.claims import Claim, claims_of
from harness.board.clocks import RowClock, RowSeconds, row_seconds
from harness.board.costs import charge_errors, mean_cost, relative_cost
from harness.board.curves import RoutingMetrics
from harness.board.notes import notes_of
from harness.board.reproduce import command_of, commit_of
from harness.board.runs import RunsAcrossSeeds, group_conditions
from harness.board.significance import Against
from harness.board.verdicts import Audit, evidence_of
from harness.data import HIGH, RouterRole
from harness.metrics import Estimate, clustered_mean, collapse_index
from harness.traces.cost import COST_MODELS, SECONDS, Costs
from harness.traces.evidence import ChallengeRecord, Evidence
from harness.traces.read import EpisodeNumbers, Run


class Kind(msgspec.Struct, frozen=True):
    """Success on the instances of one kind; ``n`` counts instances."""

    n: int
    success: Estimate


class Tokens(msgspec.Struct, frozen=True):
    """Mean tokens of an episode; left out where an endpoint did not tell them."""

    input: float | msgspec.UnsetType = msgspec.UNSET
    """Prompt tokens computed."""
    cached: float | msgspec.UnsetType = msgspec.UNSET
    """Prompt tokens that the same model had in its cache."""
    output: float | msgspec.UnsetType = msgspec.UNSET
    """Tokens decoded."""


class Source(msgspec.Struct, frozen=True):
    """A run folder behind a row; ``folder`` is its name without the path."""

    folder: str
    id: str
    hash: str
    seed: int
    command: str
    """A command that plays the run again, made from its settings; empty where no shipped suite plays its task so."""
    commit: str
    """The repository's commit when it was begun; with ``-dirty`` where files had been changed."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One router in one section, over all its seeds. Shares and success are fractions of 1."""

    task: str
    split: str
    pool: str
    group: str
    limit: int | None
    """Size of the sample of the split's instances; None for all of them."""
    router: str
    label: str
    role: RouterRole
    """What the router is to the others; see docs/board.md, Roles."""
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
    clock: RowClock | None
    """How its seconds were measured, and latency; None where they were not, or are a speed card's."""
    success_within: dict[str, list[float] | None]
    """By cost model: share of episodes that succeeded at a cost of at most each of the board's ``budgets``, which are
    multiples of always-high's mean; None where that is not known."""
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
    ranked: bool
    """Whether it takes part in fronts and curves: it is complete, without errors, of known usage, and of seeds that its
    suite plans."""
    pareto: bool
    """Whether it is on the section's Pareto front."""
    verified: Literal["ok", "unchecked", "failed", ""]
    """The worst verdict of ``mixroute verify`` on its entries; empty where one has none."""
    unchecked: list[str]
    """Checks that could not be made."""
    self_reported: bool
    """Whether nothing bounds its measured seconds, which are then on no front."""
    audit: Audit | None
    """What the models themselves say of its answers."""
    fresh: ChallengeRecord | None
    """How it did on games that did not exist when its entry was made."""
    entry: list[Source]
    protocol: dict[str, Any]
    """The conditions of the group: the task's protocol, the run's mode and temperature, and the models."""
    notes: list[str]

    def bounded_cost(self, model: str) -> float | None:
        """The relative cost by a cost model; None where it is not known, or rests on seconds that nothing bounds."""
        return None if COST_MODELS[model].timed and self.self_reported else self.cost[model]

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
    timed: RowSeconds
    notes: tuple[str, ...]


def estimate(runs: RunsAcrossSeeds, references: Sequence[RunsAcrossSeeds], *, by_card: bool) -> RowEstimates:
    """The estimates of one row.

    Args:
        runs: Its runs.
        references: The section's rows of always-high; costs are normalised by the first.
        by_card: Whether seconds are those of a speed card; else they are those that ``mixroute time`` measured.
    """
    if references:
        runs = replace(runs, played=charge_errors(runs.played, references[0].played))
    played = runs.played
    steps = sum(episode.steps for episode in played)
    cost, limits = relative_cost(played, [(one.meta.label, one.played) for one in references])
    absolute = mean_cost([episode.cost for episode in played])
    timed = RowSeconds() if by_card else row_seconds(runs.runs)
    if not by_card:
        cost, absolute = {**cost, SECONDS: timed.relative}, {**absolute, SECONDS: timed.seconds}
    return RowEstimates(
        runs=runs,
        success=_success(played),
        high_share=sum(e.high for e in played) / steps if steps and HIGH in runs.meta.models else None,
        cost=cost,
        cost_absolute=absolute,
        timed=timed,
        notes=(*notes_of(runs), *runs.remarks, *limits, *timed.notes),
    )


def make_row(
    own: RowEstimates,
    reference: RowEstimates | None,
    *,
    against: list[Against],
    routing_metrics: RoutingMetrics,
    pareto: bool,
    evidence: Evidence,
    notes: Iterable[str],
) -> Row:
    """The whole row.

    Args:
        own: Its estimates.
        reference: Those of the section's always-high.
        against: Its comparisons with other rows of the section.
        routing_metrics: Its metrics against always-low and always-high.
        pareto: Whether it is on the section's Pareto front.
        evidence: What is known of entries beside their traces.
        notes: Notes beside those of its estimates.
    """
    meta, played = own.runs.meta, own.runs.played
    steps = sum(episode.steps for episode in played)
    judged = any(episode.judged for episode in played)
    known = evidence_of([run.folder for run in own.runs.runs], evidence)
    return Row(
        task=meta.task,
        split=meta.split,
        pool=meta.pool,
        group=meta.group,
        limit=meta.limit,
        router=meta.router,
        label=meta.label,
        role=meta.role,
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
        clock=own.timed.clock,
        success_within=success_by_cost(played, own.timed, None if reference is None else reference.cost_absolute),
        curve=meta.curve,
        routing_metrics=routing_metrics,
        collapse=collapse_index([e.high / e.steps for e in played if e.steps]) if HIGH in meta.models else None,
        tokens=_tokens(played, meta.models),
        against=against,
        claims=claims_of(meta.router, meta.task),
        ranked=own.runs.is_ranked,
        pareto=pareto,
        verified=known.verified,
        unchecked=known.unchecked,
        self_reported=known.self_reported,
        audit=known.audit,
        fresh=known.fresh,
        entry=[_source(run) for run in own.runs.runs],
        protocol=group_conditions(meta),
        notes=[*own.notes, *notes, *known.notes],
    )


def _source(run: Run) -> Source:
    return Source(run.folder.name, run.meta.id, run.meta.hash, run.meta.seed, command_of(run.meta), commit_of(run.meta))


def _tokens(played: Sequence[EpisodeNumbers], models: Iterable[str]) -> dict[str, Tokens]:
    count = max(1, len(played))
    sums = {
        name: [sum(one.tokens[name][place] for one in played if name in one.tokens) for place in range(3)]
        for name in models
    }
    untold = frozenset().union(*(one.untold for one in played))
    return {
        name: Tokens() if name in untold else Tokens(*(value / count for value in values))
        for name, values in sorted(sums.items())
    }


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
