"""Results of checks, and the verdict on an entry over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from rich.console import Console
from rich.markup import escape

from harness.text import clean
from harness.traces.evidence import AuditRecord

Status = Literal["ok", "failed", "unchecked"]
_SHOWN = 5


Standing = Mapping[Path, int]
"""How far entries are believed where they contradict one another: ``FAILED``, ``SOUND`` (what a folder without an entry
here is) or ``TRUSTED``. Somebody who may write any number of entries must not make an honest one fail by them."""
FAILED, SOUND, TRUSTED = 0, 1, 2


class CheckResult(msgspec.Struct, frozen=True):
    """The result of one check. ``details`` are the first five problems of a failed one, or why it could not be made."""

    check: str
    status: Status
    problems: int
    details: list[str]


class EntryVerdict(msgspec.Struct, frozen=True):
    """The results of all checks of an entry."""

    entry: str
    results: list[CheckResult] = msgspec.field(name="findings")
    rates: dict[str, float] = msgspec.field(default_factory=dict)
    """Measured seconds of a token, by model; see ``harness.verify.rates``."""
    audit: AuditRecord | None = None
    """What the models themselves said, if they were asked."""

    @property
    def status(self) -> Status:
        """``failed`` if a check failed; ``unchecked`` if one could not be made; else ``ok``."""
        statuses = {result.status for result in self.results}
        return "failed" if "failed" in statuses else "unchecked" if "unchecked" in statuses else "ok"


class Check:
    """Collects the problems of one check.

    Args:
        name: The statement that is checked.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.reason: str | None = None
        """Why the check cannot be made."""
        self._problems = 0
        self._details: list[str] = []

    @property
    def failed(self) -> bool:
        """Whether a problem was noted."""
        return self._problems > 0

    def problem(self, where: str, what: str) -> None:
        """Note a problem."""
        self._problems += 1
        if len(self._details) < _SHOWN:
            self._details.append(f"{where}: {what}" if where else what)

    def expect(self, where: str, what: str, found: object, expected: object) -> bool:
        """Note a problem unless both are equal; returns whether they are."""
        if found != expected:
            self.problem(where, f"{what} is {_short(found)}, not {_short(expected)}")
        return found == expected

    def result(self) -> CheckResult:
        """The result, from the problems noted so far."""
        if self._problems:
            return CheckResult(self.name, "failed", self._problems, self._details)
        if self.reason is not None:
            return CheckResult(self.name, "unchecked", 0, [self.reason])
        return CheckResult(self.name, "ok", 0, [])


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:157]}..."


def print_verdicts(verdicts: Sequence[EntryVerdict], console: Console) -> None:
    """Print each verdict with what failed and what could not be checked."""
    styles = {"ok": "green", "failed": "bold red", "unchecked": "yellow"}
    for verdict in verdicts:
        style = styles[verdict.status]
        console.print(f"[{style}]{verdict.status}[/{style}]  {escape(clean(verdict.entry))}", highlight=False)
        if (audit := verdict.audit) is not None:
            console.print(
                f"    audited: {audit.episodes} episodes, {audit.calls} calls, "
                f"largest gap {audit.largest_gap:.2g} nats, asked again {audit.asked_again}",
                highlight=False,
                markup=False,
            )
        for result in verdict.results:
            if result.status == "ok":
                continue
            count = f" ({result.problems})" if result.problems > 1 else ""
            console.print(f"    {result.status}: {result.check}{count}", highlight=False, markup=False)
            for detail in result.details:
                console.print(f"        {clean(detail)}", highlight=False, markup=False)
