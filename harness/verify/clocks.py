"""Checks of what ``mixroute time`` measured: against the trace, and against the other entries of its session."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import fsum, isclose
from pathlib import Path

from harness.data import HIGH
from harness.errors import MixrouteError
from harness.provenance import hardware_of
from harness.records import Episode, RunMeta
from harness.traces.clock import Clock, read_clock, read_clocked
from harness.traces.store import read_meta
from harness.verify.rates import SMALLEST, TokenRates
from harness.verify.report import Check

CLOCKS = "timed seconds fit the calls"
SESSIONS = "timed seconds fit the other entries of the session"
_SLACK = 1e-3
"""Relative to a sum, and in seconds: what rounding to 5 digits may add up to."""


class ClockCheck:
    """Checks the clock of an entry against its episodes. Which steps and calls it times was checked as it was read.

    Args:
        meta: The content of ``run.json``.
        clock: The clock.
    """

    def __init__(self, meta: RunMeta, clock: Clock) -> None:
        self.check = Check(CLOCKS)
        self._meta = meta
        self._clock = clock
        self._own: dict[str, tuple[int, list[float]]] = {}
        for key in ("hardware", "packages"):
            if not clock.meta.provenance.get(key):
                self.check.problem("clock.json", f"its provenance lacks {key}")

    def episode(self, episode: Episode) -> None:
        """Check the lines of one episode."""
        lines = self._clock.lines.get(episode.instance, [])
        for line in lines:
            where = f"{episode.instance} pass {line.number}"
            if _exceeds(fsum(step.wall for step in line.steps), line.wall):
                self.check.problem(where, "its steps take longer than the episode")
            for number, step in enumerate(line.steps):
                longest = max((prefill + decode for prefill, decode in step.calls), default=0.0)
                if _exceeds(longest, step.wall) and not self._clock.meta.missing:
                    self.check.problem(f"{where} step {number}", "a call takes longer than its step")
        if lines and episode.end == "error":
            self.check.problem(episode.instance, "an error ended it, and what it would have taken is not known")
        if lines:
            self._own[episode.instance] = len(episode.steps), [line.seconds for line in lines]

    def finish(self) -> None:
        """Compare always-high with what its own clock says of it as the reference."""
        meta = self._clock.meta
        if missing := sorted(set(meta.instances) - set(self._own)):
            self.check.problem(missing[0], "it is timed, and there is no episode")
        if self._meta.hash in meta.reference_runs:
            _compare_reference(self.check, self._clock, self._own)


def check_sessions(folders: Sequence[Path]) -> dict[Path, Check]:
    """Compare the clocks of entries with one another, by folder; entries without one, or that cannot be read, are
    passed over.

    Entries of one session must say the same of how it was measured, and of always-high what its own clock says. A
    reference that was timed in another session than the published one may not make the row look fast: a token of
    ``high`` must take at least half as long in the row as in its reference.
    """
    metas: dict[Path, RunMeta] = {}
    clocks: dict[Path, Clock] = {}
    for folder in folders:
        try:
            meta, clock = read_meta(folder), read_clock(folder)
        except MixrouteError:  # said by another check
            continue
        metas[folder] = meta
        if clock is not None:
            clocks[folder] = clock
    by_hash = {meta.hash: folder for folder, meta in metas.items()}
    checks = {folder: Check(SESSIONS) for folder in clocks}
    first: dict[str, Path] = {}
    for folder, clock in clocks.items():
        before = first.setdefault(clock.meta.session, folder)
        if _conditions(clock) != _conditions(clocks[before]):
            checks[folder].problem("clock.json", f"its session was measured otherwise than {before.name} says")
    for folder, clock in clocks.items():
        references = [by_hash[one] for one in clock.meta.reference_runs if one in by_hash]
        if not clock.meta.reference:
            continue
        if len(references) < len(clock.meta.reference_runs):
            continue  # nothing to compare with; see ``check_seconds``
        if all(one in clocks and clocks[one].meta.session == clock.meta.session for one in references):
            _compare_reference(checks[folder], clock, _measured(references, clocks))
        else:
            _check_rates(checks[folder], folder, clock, references)
    return checks


def _conditions(clock: Clock) -> tuple[object, ...]:
    meta = clock.meta
    versions = meta.provenance.get("packages")
    return hardware_of(meta.provenance), versions, meta.concurrency, meta.passes, meta.seed


def _measured(references: Sequence[Path], clocks: Mapping[Path, Clock]) -> dict[str, tuple[int, list[float]]]:
    """Steps and seconds of each instance, by pass."""
    return {
        instance: (len(lines[0].steps), [line.seconds for line in lines])
        for folder in references
        for instance, lines in clocks[folder].lines.items()
    }


def _compare_reference(check: Check, clock: Clock, measured: Mapping[str, tuple[int, list[float]]]) -> None:
    for instance, one in clock.meta.reference.items():
        steps, seconds = measured.get(instance, (0, []))
        same = len(seconds) == len(one.seconds) and all(
            isclose(ours, theirs, rel_tol=_SLACK) for ours, theirs in zip(seconds, one.seconds, strict=True)
        )
        if not same or steps != one.steps:
            check.problem(instance, "the seconds of always-high are not those of its own clock")


def _check_rates(check: Check, folder: Path, clock: Clock, references: Sequence[Path]) -> None:
    """Compare seconds of a token of ``high`` in the row with those in its reference."""
    rates = TokenRates()
    for episode, _, clocked in read_clocked(folder):
        rates.add(episode, None, clocked)
    own, theirs = rates.means().get(HIGH), reference_rate(clock, references)
    if own is not None and theirs is not None and own < SMALLEST * theirs:
        check.problem(
            "clock.json", f"a token of '{HIGH}' takes {own:.2g} s in the row, {theirs:.2g} s in its always-high"
        )


def reference_rate(clock: Clock, references: Iterable[Path]) -> float | None:
    """Seconds of a token of the always-high that was timed beside a row; see ``TokenRates``.

    Args:
        clock: The row's.
        references: The entries of that always-high, which have its tokens.

    Raises:
        MixrouteError: one cannot be read.
    """
    tokens, seconds = 0, 0.0
    for folder in references:
        for episode, _, _ in read_clocked(folder):
            if one := clock.meta.reference.get(episode.instance):
                tokens += TokenRates.tokens(episode)
                seconds += fsum(one.seconds) / len(one.seconds)
    return seconds / tokens if tokens else None


def _exceeds(part: float, whole: float) -> bool:
    return part > whole * (1 + _SLACK) + _SLACK
