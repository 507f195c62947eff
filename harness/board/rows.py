"""One row of the board: its fields, and how they follow from the episodes behind it. See docs/board.md."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from harness.board.claims import Claim, claims_of
from harness.board.curves import Measures
from harness.board.significance import Against
from harness.data import HIGH
from harness.metrics import Estimate, clustered_mean, collapse_index
from harness.records import RunMeta
from harness.traces.cost import Cost
from harness.traces.read import Played, Run


class Costs(msgspec.Struct, frozen=True):
    """Three costs side by side, as docs/cost.md defines them; None where unknown."""

    weight_bytes: float | None = None
    flops: float | None = None
    seconds: float | None = None


class Kind(msgspec.Struct, frozen=True):
    """Success on the instances of one kind; ``n`` counts instances."""

    n: int
    success: Estimate


class Tokens(msgspec.Struct, frozen=True):
    """Mean tokens of an episode."""

    input: float
    """Of prompts, read anew."""
    cached: float
    """Of prompts, read by the same model before."""
    output: float


class Source(msgspec.Struct, frozen=True):
    """A run folder behind a row; ``folder`` is its name without the path."""

    folder: str
    id: str
    hash: str
    seed: int
    command: str
    """That the run was started with."""
    commit: str
    """Of the repository then; with ``-dirty`` where files had been changed."""


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
    """Episodes that ended in an error; each counts as a failure."""
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
    """Mean cost of an episode: bytes, FLOPs, seconds."""
    curve: str
    """Name of the curve that it is a point of."""
    measures: Measures
    collapse: float | None
    """Share of episodes in which one model took every step."""
    tokens: dict[str, Tokens]
    """By model of the pool."""
    against: list[Against]
    """Its success against that of other rows."""
    claims: list[Claim]
    """What papers say of this router on this task, with other models: not measured here."""
    pareto: bool
    entry: list[Source]
    protocol: dict[str, Any]
    """What the group holds equal: the task's protocol, the run's mode, and the models."""
    notes: list[str]

    @property
    def complete(self) -> bool:
        """Whether every planned episode was played."""
        return self.episodes == self.planned


@dataclass(frozen=True, slots=True)
class Pile:
    """Runs that differ only in seed, in order of seed, and their episodes in order of (seed, instance)."""

    runs: tuple[Run, ...]
    played: tuple[Played, ...]
    planned: int

    @property
    def meta(self) -> RunMeta:
        """Of the first run; the others differ in seed, id and hash."""
        return self.runs[0].meta


def held_equal(meta: RunMeta) -> dict[str, Any]:
    """The conditions that all runs of a group share and that a reader needs beside the numbers."""
    shown = ("bits", "weight_bytes", "parameters", "fingerprint")
    return {
        "task": meta.protocol,
        "mode": meta.config.get("mode"),
        "models": {name: {key: card.get(key) for key in shown} for name, card in sorted(meta.models.items())},
    }


def make_row(pile: Pile, references: Sequence[Pile]) -> Row:
    """The row of a pile, its cost normalised by the first of ``references`` (the piles of always-high in its group)."""
    meta, played = pile.meta, pile.played
    notes = _notes(pile)
    cost = _normalised(played, references, notes)
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
        planned=pile.planned,
        errors=sum(episode.error for episode in played),
        seeds=len({run.meta.seed for run in pile.runs}),
        success=_success(played),
        score=clustered_mean([e.score for e in played], [e.instance for e in played]),
        by_kind=_by_kind(played),
        steps=steps / len(played) if played else None,
        invalid_share=sum(e.invalid for e in played) / steps if judged else None,
        high_share=sum(e.high for e in played) / steps if steps and HIGH in meta.models else None,
        cost=cost,
        cost_absolute=_absolute(played),
        curve=meta.curve,
        measures=Measures(),
        collapse=collapse_index([e.high / e.steps for e in played if e.steps]) if HIGH in meta.models else None,
        tokens=_tokens(played, meta.models),
        against=[],
        claims=claims_of(meta.router, meta.task),
        pareto=False,
        entry=[_source(run) for run in pile.runs],
        protocol=held_equal(meta),
        notes=notes,
    )


def _source(run: Run) -> Source:
    command, git = run.meta.provenance.get("command"), run.meta.provenance.get("git")
    commit = f"{git.get('commit', '')}{'-dirty' if git.get('dirty') else ''}" if isinstance(git, dict) else ""
    return Source(run.folder.name, run.meta.id, run.meta.hash, run.meta.seed, str(command or ""), commit)


def _tokens(played: Sequence[Played], models: Iterable[str]) -> dict[str, Tokens]:
    count = max(1, len(played))
    sums = {
        name: [sum(one.tokens[name][place] for one in played if name in one.tokens) for place in range(3)]
        for name in models
    }
    return {name: Tokens(*(value / count for value in values)) for name, values in sorted(sums.items())}


def _success(played: Iterable[Played]) -> Estimate:
    played = list(played)
    return clustered_mean([bool(e.success) for e in played], [e.instance for e in played])


def _by_kind(played: Iterable[Played]) -> dict[str, Kind]:
    kinds: defaultdict[str, list[Played]] = defaultdict(list)
    for episode in played:
        kinds[episode.kind].append(episode)
    if set(kinds) <= {""}:
        return {}
    return {kind: Kind(len({e.instance for e in some}), _success(some)) for kind, some in sorted(kinds.items())}


def _counterpart(by_seed: Mapping[int, Played], seed: int) -> Cost:
    """What the reference paid on an instance: with the same seed, else its mean over the seeds that it has."""
    if seed in by_seed:
        return by_seed[seed].cost
    total = _total(by_seed.values())
    count = len(by_seed)
    return Cost(
        (total.weight_bytes or 0) / count,
        (total.flops or 0) / count,
        None if total.seconds is None else total.seconds / count,
    )


def _total(played: Iterable[Played]) -> Costs:
    return _sum(episode.cost for episode in played)


def _sum(parts: Iterable[Cost]) -> Costs:
    """Exactly rounded sums, so that the order of the episodes cannot show."""
    costs = list(parts)
    seconds = [cost.seconds for cost in costs if cost.seconds is not None]
    return Costs(
        math.fsum(cost.weight_bytes for cost in costs),
        math.fsum(cost.flops for cost in costs),
        math.fsum(seconds) if len(seconds) == len(costs) else None,
    )


def _absolute(played: Sequence[Played]) -> Costs:
    total = _total(played)
    return _divide(total, Costs(*[float(len(played))] * 3))


def _normalised(played: Sequence[Played], references: Sequence[Pile], notes: list[str]) -> Costs:
    """Cost over that of always-high on the same episodes, both summed; see ``_counterpart``."""
    if not played:
        return Costs()
    if not references:
        notes.append("cost is not normalised: no always-high run in this group")
        return Costs()
    reference: defaultdict[str, dict[int, Played]] = defaultdict(dict)
    for episode in references[0].played:
        reference[episode.instance][episode.seed] = episode
    common = [episode for episode in played if episode.instance in reference]
    if not common:
        notes.append("cost is not normalised: always-high has played none of these instances")
        return Costs()
    if len(common) < len(played):
        notes.append(f"normalised cost is over the {len(common)} of {len(played)} episodes that always-high has played")
    if len(references) > 1:
        notes.append(f"several always-high rows: cost is normalised by the one labelled {references[0].meta.label!r}")
    one = _sum(_counterpart(reference[e.instance], e.seed) for e in common)
    if one.weight_bytes == 0:
        notes.append("cost is not normalised: that of always-high is 0")
    return _divide(_total(common), one)


def _divide(cost: Costs, by: Costs) -> Costs:
    def ratio(value: float | None, one: float | None) -> float | None:
        return value / one if value is not None and one else None

    return Costs(
        ratio(cost.weight_bytes, by.weight_bytes), ratio(cost.flops, by.flops), ratio(cost.seconds, by.seconds)
    )


def _notes(pile: Pile) -> list[str]:
    notes = []
    if len(pile.played) < pile.planned:
        notes.append(
            f"incomplete: {len(pile.played)} of {pile.planned} planned episodes "
            f"({len(pile.played) / pile.planned:.1%}); kept off the Pareto front"
        )
    unmeasured = sum(episode.cost.seconds is None for episode in pile.played)
    if unmeasured:
        notes.append(f"no seconds: {unmeasured} of {len(pile.played)} episodes have no measured times")
    if any(run.meta.fitted != pile.meta.fitted for run in pile.runs):
        notes.append("router arguments were fitted for each seed apart")
    return notes
