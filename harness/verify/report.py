"""What a check found, and the verdict over all checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
from rich.console import Console
from rich.markup import escape

from harness.text import clean

Status = Literal["ok", "failed", "unchecked"]
_SHOWN = 5


class Finding(msgspec.Struct, frozen=True):
    """One check. ``details`` are problems of a failed one (the first five), or why it could not be made."""

    check: str
    status: Status
    problems: int
    details: list[str]


class Verdict(msgspec.Struct, frozen=True):
    """All findings on an entry."""

    entry: str
    findings: list[Finding]

    @property
    def status(self) -> Status:
        """``failed`` if a check failed; ``unchecked`` if one could not be made; else ``ok``."""
        found = {finding.status for finding in self.findings}
        return "failed" if "failed" in found else "unchecked" if "unchecked" in found else "ok"


class Check:
    """Collects the problems of one check.

    Args:
        name: What is checked, in words.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.reason: str | None = None
        """Why the check cannot be made."""
        self._problems = 0
        self._details: list[str] = []

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

    def finding(self) -> Finding:
        """What came of it."""
        if self._problems:
            return Finding(self.name, "failed", self._problems, self._details)
        if self.reason is not None:
            return Finding(self.name, "unchecked", 0, [self.reason])
        return Finding(self.name, "ok", 0, [])


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:157]}..."


def print_verdicts(verdicts: Sequence[Verdict], console: Console) -> None:
    """Print each verdict with what failed and what could not be checked."""
    styles = {"ok": "green", "failed": "bold red", "unchecked": "yellow"}
    for verdict in verdicts:
        style = styles[verdict.status]
        console.print(f"[{style}]{verdict.status}[/{style}]  {escape(clean(verdict.entry))}", highlight=False)
        for finding in verdict.findings:
            if finding.status == "ok":
                continue
            count = f" ({finding.problems})" if finding.problems > 1 else ""
            console.print(f"    {finding.status}: {finding.check}{count}", highlight=False, markup=False)
            for detail in finding.details:
                console.print(f"        {clean(detail)}", highlight=False, markup=False)
