"""Checks of entries against one another: none is a copy of another under its own name."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

from harness.errors import MixrouteError
from harness.traces.clock import read_clock
from harness.traces.store import read_meta, read_timings
from harness.verify.report import SOUND, Check, Standing


def check_copies(folders: Sequence[Path], standing: Standing = MappingProxyType({})) -> dict[Path, Check]:
    """The check of each folder that its run and its measured times, which never repeat by chance, are no other's.

    Of two that share something both fail, since nobody can tell which one was first; but for one of higher standing.
    """
    checks = {folder: Check("it is no copy of another entry") for folder in folders}
    holders: defaultdict[str, list[Path]] = defaultdict(list)
    for folder in folders:
        try:
            own = {f"run {read_meta(folder).hash}"}
            for timing in read_timings(folder):
                if timing.steps:
                    steps = [(step.environment, step.router) for step in timing.steps]
                    own.add(f"times {timing.reset} {steps}")
            clock = read_clock(folder)
            for line in (one for lines in clock.lines.values() for one in lines) if clock else ():
                own.add(f"times {line.wall} {line.steps}")
        except MixrouteError:
            continue
        for key in own:
            holders[key].append(folder)
    shared: defaultdict[Path, Counter[tuple[Path, str]]] = defaultdict(Counter)
    for key, several in holders.items():
        what = "run" if key.startswith("run ") else "measured times of episodes"
        several.sort(key=lambda folder: standing.get(folder, SOUND), reverse=True)  # stable
        for at, folder in enumerate(several):
            other = several[at == 0] if len(several) > 1 else folder
            if other != folder and standing.get(other, SOUND) >= standing.get(folder, SOUND):
                shared[folder][other, what] += 1
    for folder, found in shared.items():
        for (other, what), count in found.items():
            checks[folder].problem("", f"it shares the {what} with {other.name} ({count})")
    return checks
