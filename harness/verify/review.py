"""The review of a submission in plain words: what is new, what verification says, and how the rows would stand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from glob import escape
from pathlib import Path

import msgspec

from harness.board.overview import verdict_of
from harness.board.paper import DEFAULT_COLUMNS, paper_tables
from harness.board.paper_formats import to_markdown
from harness.board.rows import Row
from harness.board.runs import REFERENCE
from harness.board.table import Board, build_board
from harness.errors import MixrouteError
from harness.text import clean, markdown
from harness.traces.evidence import entry_digest, read_evidence
from harness.traces.store import find_runs
from harness.verify.report import EntryVerdict

_COLUMNS = (*DEFAULT_COLUMNS, "against best baseline")
_COMPANY = ("always-high", "always-low", "random*")
"""Labels that stand beside the new rows."""


class Review(msgspec.Struct, frozen=True):
    """The review of a submission."""

    text: str
    """Markdown."""
    sound: bool
    """Whether no new entry failed and none was taken away or changed."""


def read_verdicts(path: Path) -> dict[str, EntryVerdict]:
    """Verdicts by entry, as ``mixroute verify --json`` wrote them.

    Raises:
        MixrouteError: the file cannot be read.
    """
    try:
        found = msgspec.json.decode(path.read_bytes(), type=list[EntryVerdict])
    except (OSError, msgspec.MsgspecError) as error:
        message = f"{path} does not hold verdicts ({error}): write it with mixroute verify --published --json {path}"
        raise MixrouteError(message) from error
    return {verdict.entry: verdict for verdict in found}


def review(entries: Path, base: Path, verdicts: Mapping[str, EntryVerdict], evidence: Path) -> Review:
    """Review the entries that are new in a folder.

    Args:
        entries: The folder of entries with the submission.
        base: The folder without it.
        verdicts: Verdicts on ``entries``, by name.
        evidence: What is known of entries beside their traces.

    Raises:
        MixrouteError: an entry has no verdict, a folder is not there, or none of its entries can be read.
    """
    before, now = _digests(base), _digests(entries)
    new = sorted(now.keys() - before.keys())
    touched = sorted(name for name in before if before[name] != now.get(name))
    unknown = [name for name in new if name not in verdicts]
    if unknown:
        raise MixrouteError(f"no verdict on {unknown[0]}: verify {entries} with --json anew")
    parts = [_opening(new, touched, verdicts)]
    parts += [_findings(verdicts[name]) for name in new if verdicts[name].status != "ok"]
    sound = [name for name in new if verdicts[name].status != "failed"]
    if sound:
        known = [entries / name for name in now if name not in new or name in sound]
        parts += _rows(build_board(known, evidence=read_evidence(evidence), leave_out=True), sound)
    return Review("\n\n".join(parts) + "\n", len(sound) == len(new) and not touched)


def _digests(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        raise MixrouteError(f"{folder} is no folder: give the entries of a checkout")
    return {run.name: entry_digest(run) for run in find_runs(folder)} if any(folder.iterdir()) else {}


def _opening(new: Sequence[str], touched: Sequence[str], verdicts: Mapping[str, EntryVerdict]) -> str:
    count = {status: sum(verdicts[name].status == status for name in new) for status in ("ok", "unchecked", "failed")}
    counted = ", ".join(f"{number} {status}" for status, number in count.items() if number) or "none"
    lines = [f"**{len(new)} new {'entry' if len(new) == 1 else 'entries'}: {counted}.**"]
    if count["failed"]:
        lines.append("An entry that failed cannot be merged; what failed is below.")
    if count["unchecked"]:
        lines.append("*Unchecked* means that CI could not make a check, as it says below; nothing was found wrong.")
    if touched:
        lines.append(
            f"These published entries were changed or taken away, which a submission may not do: "
            f"{', '.join(markdown(name) for name in touched)}."
        )
    return "\n".join(lines)


def _findings(verdict: EntryVerdict) -> str:
    lines = [f"`{clean(verdict.entry).replace('`', '')}` is {verdict.status}:"]
    for result in verdict.results:
        if result.status != "ok":
            more = f" ({result.problems} times)" if result.problems > 1 else ""
            details = "; ".join(markdown(detail) for detail in result.details)
            lines.append(f"- {result.status}: {markdown(result.check)}{more}: {details}")
    return "\n".join(lines)


def _rows(board: Board, names: Iterable[str]) -> list[str]:
    """What the board would say: a table a section, and a sentence a new row and cost."""
    wanted = set(names)
    parts = []
    for section in board.sections():
        own = [row for row in section if wanted & {source.folder for source in row.entry}]
        if own:
            alone = Board(section, ())
            labels = [*_COMPANY, *(escape(row.label) for row in own)]
            parts.append(to_markdown(paper_tables(alone, headings=_COLUMNS, labels=labels)).rstrip())
            parts.append("\n".join(f"- {markdown(row.label)} {markdown(_summary(row))}" for row in own))
    return parts


def _summary(row: Row) -> str:
    costs = {name: cost for name, cost in row.cost.items() if cost is not None}
    return verdict_of(row, costs) if costs and row.router != REFERENCE else f"has no cost relative to {REFERENCE}"
