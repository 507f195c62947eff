"""Plays a claim's router and the reference rows on fresh games."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from harness.board.runs import REFERENCE, RunsAcrossSeeds, runs_by_router
from harness.challenge.claim import Claim
from harness.engine.runner import SuiteRunner
from harness.errors import MixrouteError
from harness.plugins import open_task
from harness.seeding import fresh_split
from harness.suite import RouterEntry, Suite, TaskEntry
from harness.traces.read import read_run

CHEAPEST = "always-low"
"""The row that shows what a router falls to that has learned nothing."""

CONCURRENCY = 16


@dataclass(frozen=True, slots=True)
class FreshRows:
    """What was played on fresh games."""

    split: str
    router: RunsAcrossSeeds
    reference: RunsAcrossSeeds
    """Always-high."""
    others: tuple[RunsAcrossSeeds, ...]
    """Always-low, unless it is the router itself."""


def play_fresh(claim: Claim, seed: str, games: int, out: Path, console: Console) -> FreshRows:
    """Play what is missing of the fresh games of ``seed``.

    Thresholds stay those of the entry: nothing is fitted again. Router, pool, arguments, mode, temperature and root
    seeds are the entry's; only split and limit differ.

    Args:
        claim: The row.
        seed: What the games are drawn from.
        games: How many, as even over the kinds as a suite's ``limit`` takes them.
        out: Folder of the runs.
        console: Where progress is shown.

    Raises:
        MixrouteError: as ``SuiteRunner``; more games than a fresh split has; or models that are not the entry's.
    """
    config, split = claim.config, fresh_split(seed)
    there = len(open_task(config.task, split=split, **config.task_args).instances())
    if games > there:
        raise MixrouteError(f"--games {games}: a seed gives {there} games of '{config.task}': ask for no more")
    arguments = {**config.router_args, **claim.meta.fitted}
    own = RouterEntry(
        router=config.router,
        args=arguments,
        label=claim.meta.label,
        seeds=sorted({run.meta.seed for run in claim.row.runs}),
    )
    reference_seeds = sorted({run.meta.seed for run in claim.reference.runs})
    references = [
        RouterEntry(router=name, seeds=reference_seeds)
        for name in (REFERENCE, CHEAPEST)
        if not (name == config.router and not arguments)
    ]
    suite = Suite(
        schema=1,
        name="challenge",
        pool=config.pool,
        tasks=[TaskEntry(task=config.task, split=split, limit=games, args=config.task_args)],
        routers=[*references, own],
        mode=config.mode,
        temperature=config.temperature,
        concurrency=CONCURRENCY,
    )
    finished = SuiteRunner(suite, out, console).run()
    _check_models(claim, finished[0].meta.models)
    rows = runs_by_router([read_run(run.folder) for run in finished])
    mine = next(row for row in rows if (row.meta.router, row.meta.label) == (config.router, own.name))
    reference = next(row for row in rows if row.meta.router == REFERENCE and row is not mine)
    return FreshRows(split, mine, reference, tuple(row for row in rows if row not in (mine, reference)))


def _check_models(claim: Claim, models: dict[str, dict[str, object]]) -> None:
    for name in sorted({*models, *claim.meta.models}):
        ours, theirs = (cards.get(name, {}).get("fingerprint") for cards in (models, claim.meta.models))
        if ours != theirs:
            raise MixrouteError(
                f"model '{name}' has the fingerprint {str(ours)[:12]} here and {str(theirs)[:12]} in {claim.folder}: "
                "other weights, or run in another way, cannot be compared"
            )
