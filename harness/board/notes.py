"""Notes on a row: what keeps its figures from meaning what they seem to."""

from __future__ import annotations

from harness.board.runs import RunsAcrossSeeds
from harness.registry import routers
from harness.traces.training_pool import other_pool_note

NOT_ISOLATED = "router was run in the process of the environment, not isolated"
"""Note on rows of routers that are not shipped: code in one process can read what the router should not know."""


def notes_of(runs: RunsAcrossSeeds) -> list[str]:
    """The notes that follow from a row's runs."""
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
    if untold := [episode for episode in runs.played if episode.untold]:
        models = ", ".join(sorted(frozenset().union(*(episode.untold for episode in untold))))
        notes.append(
            f"unknown usage: in {len(untold)} of {count} episodes the endpoint did not say how many tokens it took "
            f"(model {models}), so that bytes, FLOPs and tokens are unknown; kept off the Pareto front"
        )
    notes += [] if runs.meta.outcome_known else ["outcomes are not known, and stand as 0; kept off the Pareto front"]
    if any(run.meta.fitted != runs.meta.fitted for run in runs.runs):
        notes.append("router arguments were fitted for each seed apart")
    notes += sorted({note for run in runs.runs if (note := other_pool_note(run.meta))})
    if not routers.is_shipped(runs.meta.router):
        notes.append(NOT_ISOLATED)
    return notes
