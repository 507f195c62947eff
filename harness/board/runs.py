"""Runs of one group, sorted into those that make one row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.board.suites import JudgedRun, judge
from harness.errors import MixrouteError
from harness.files import content_hash
from harness.records import RunMeta
from harness.sharing import stated_sharing
from harness.text import quoted
from harness.traces.read import EpisodeNumbers, Run
from harness.traces.store import EPISODES, RUN

REFERENCE = "always-high"
"""The router whose normalised cost is 1.0."""

ENDS: Mapping[str, Literal["high", "low"]] = {REFERENCE: "high", "always-low": "low"}
"""The routers of one model, between which all others lie; that of the model ``high`` first."""


@dataclass(frozen=True, slots=True)
class RunsAcrossSeeds:
    """Runs that differ only in seed, in order of seed, and their episodes in order of (seed, instance)."""

    runs: tuple[Run, ...]
    played: tuple[EpisodeNumbers, ...]
    planned: int
    compared: bool = True
    """Whether other rows may be compared with it; not where its seeds are none of its suite's."""
    remarks: tuple[str, ...] = ()
    """What the shipped suites say of its runs; see ``harness.board.suites``."""

    @property
    def meta(self) -> RunMeta:
        """What the first run recorded; the others differ in seed, id and hash."""
        return self.runs[0].meta

    @property
    def complete(self) -> bool:
        """Whether every planned episode was played."""
        return len(self.played) == self.planned

    @property
    def errors(self) -> int:
        """Episodes that ended in an error."""
        return sum(episode.error for episode in self.played)

    @property
    def is_ranked(self) -> bool:
        """Whether they take part in fronts and curves: every planned episode was played, none ended in an error,
        the tokens of all calls and the outcomes are known, and the seeds are the suite's.
        """
        known = self.meta.outcome_known and not any(one.untold for one in self.played)
        return self.complete and not self.errors and self.compared and known


def group_conditions(meta: RunMeta) -> dict[str, Any]:
    """The conditions that all runs of a group share and that a reader needs beside the numbers."""
    shown = ("bits", "weight_bytes", "parameters", "fingerprint")
    return {
        "task": meta.protocol,
        "mode": meta.config.get("mode"),
        "temperature": meta.config.get("temperature"),
        "models": {
            name: {key: card.get(key) for key in shown} | _arithmetic(card)
            for name, card in sorted(meta.models.items())
        },
        **stated_sharing(meta.config),
    }


def _arithmetic(card: Mapping[str, Any]) -> dict[str, Any]:
    """What a quantized model computes its linear layers in, where its card says so."""
    found = (card.get("details") or {}).get("arithmetic")
    return {"arithmetic": found} if found else {}


def runs_by_router(runs: Sequence[Run]) -> list[RunsAcrossSeeds]:
    """The runs of a group by router, label and configuration, in that order; those of seeds that their suite does not
    plan apart.

    Raises:
        MixrouteError: two runs of the group have other conditions, or two of a router hold the same episode.
    """
    _check_conditions(runs)
    runs_of: defaultdict[tuple[tuple[str, str, str], bool], list[JudgedRun]] = defaultdict(list)
    for judged in map(judge, runs):
        runs_of[router_key(judged.run.meta), not judged.planned].append(judged)
    return [_across_seeds(runs_of[key]) for key in sorted(runs_of)]


def _check_conditions(runs: Sequence[Run]) -> None:
    expected = group_conditions(runs[0].meta)
    for run in runs[1:]:
        for name, condition in group_conditions(run.meta).items():
            if condition != expected[name]:
                raise MixrouteError(
                    f"{run.folder / RUN} has the group of {runs[0].folder / RUN} but not its "
                    f"{'protocol' if name == 'task' else name}: "
                    "one of the two files was changed; restore it, or leave its folder out"
                )


def router_key(meta: RunMeta, without: Collection[str] = ("seed",)) -> tuple[str, str, str]:
    """Equal for runs of one group that differ only in the settings ``without``."""
    settings = meta.settings
    return meta.router, meta.label, content_hash({key: settings[key] for key in settings if key not in without})


def _across_seeds(judged: Sequence[JudgedRun]) -> RunsAcrossSeeds:
    runs = sorted(
        (one.run for one in judged), key=lambda run: (run.meta.seed, run.meta.hash, run.meta.id, run.folder.name)
    )
    episodes: dict[tuple[str, int], tuple[EpisodeNumbers, Run]] = {}
    for run in runs:
        for played in run.played:
            _, other = episodes.setdefault((played.instance, played.seed), (played, run))
            if other is not run:
                raise MixrouteError(
                    f"{other.folder / EPISODES} and {run.folder / EPISODES} both hold instance "
                    f"{quoted(played.instance)} with seed {played.seed} for {quoted(run.meta.label)}: leave one of "
                    f"the two folders out"
                )
    planned = {(instance, run.meta.seed) for run in runs for instance in run.meta.instances}
    remarks = tuple(sorted({note for one in judged for note in one.notes}))
    played_once = tuple(played for played, _ in episodes.values())
    return RunsAcrossSeeds(tuple(runs), played_once, len(planned), judged[0].planned, remarks)
