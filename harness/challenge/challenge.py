"""A challenge from the entry to the record."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from harness.challenge.claim import Claim, read_claim
from harness.challenge.outcome import judge
from harness.challenge.play import FreshRows, play_fresh
from harness.errors import MixrouteError
from harness.provenance import provenance
from harness.traces.evidence import CHALLENGES, ChallengeRecord, merge_records
from harness.traces.store import find_runs


def challenge_entry(
    entry: Path,
    entries: Path,
    evidence: Path,
    *,
    seed: str | None,
    games: int,
    out: Path,
    console: Console,
    pool: str | None = None,
) -> tuple[Claim, FreshRows, ChallengeRecord]:
    """Play the row of ``entry`` on fresh games, judge its claim, and put the record into ``evidence``.

    Args:
        entry: Folder of an entry.
        entries: Folder of the published entries.
        evidence: Folder of the evidence.
        seed: What the games are drawn from; the commit of this repository if None.
        games: How many games.
        out: Folder of the runs, which are resumed.
        console: Where progress is shown.
        pool: Pool with the entry's models, where its own is not a shipped one.

    Raises:
        MixrouteError: as ``read_claim`` and ``play_fresh``; or a seed that is missing or existed before the entry.
    """
    claim = read_claim(entry, entries, pool)
    drawn_from = _commit() if seed is None else seed
    known = {(run.meta.provenance.get("git") or {}).get("commit") for run in claim.row.runs}
    if drawn_from in known:
        raise MixrouteError(
            f"--seed {drawn_from}: the entry was made at this commit, so its games could be known: commit the entry "
            "first, or give another seed"
        )
    fresh = play_fresh(claim, drawn_from, games, out, console)
    record = judge(claim, fresh, drawn_from)
    there = [folder.name for folder in find_runs(entries)]
    merge_records(evidence / CHALLENGES, [record], ChallengeRecord, [*there, record.entry])
    return claim, fresh, record


def _commit() -> str:
    git = provenance()["git"]
    if git is None:
        raise MixrouteError("--seed is needed: mixroute does not run from a git repository whose commit it could take")
    return str(git["commit"])
