"""Past runs that a forecast rests on: of the same router and split if there are any, else the nearest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import MixrouteError
from harness.plan.usage import Usage, usage_of
from harness.records import RunMeta
from harness.speed.rates import Rates
from harness.suite import RunConfig
from harness.traces.store import find_runs, read_meta


@dataclass(frozen=True, slots=True)
class Basis:
    """The past episodes that a run's forecast rests on."""

    each: Usage
    """Mean of one episode."""
    description: str


class Past:
    """The runs below some folders.

    Args:
        roots: Folders of runs or entries; those that hold none are passed over.
        rates: Seconds of calls, in place of those that were measured.
    """

    def __init__(self, roots: Iterable[Path], rates: Rates | None) -> None:
        self._rates = rates
        self._used: dict[Path, Usage] = {}
        found: dict[Path, RunMeta] = {}
        for root in roots:
            try:
                folders = find_runs(root, nested=True)
            except MixrouteError:
                continue
            for folder in folders:
                found.setdefault(folder.resolve(), read_meta(folder))
        self._runs = found

    def basis(self, config: RunConfig) -> Basis | None:
        """The nearest past runs with the pool and task of a planned run; None where there are none."""
        pair = config.pool, config.task
        here = {folder: meta for folder, meta in self._runs.items() if (meta.pool, meta.task) == pair}
        same_router = {folder for folder, meta in here.items() if _router(meta) == (config.router, config.router_args)}
        same_split = {
            folder
            for folder, meta in here.items()
            if (meta.split, meta.config.get("task_args")) == (config.split, config.task_args)
        }
        tried = (
            (same_router & same_split, "the same router and instances' split"),
            (same_router, "the same router, on another split or with other arguments of the task"),
            (same_split, "other routers on the same split"),
            (set(here), "other routers, on another split or with other arguments of the task"),
        )
        for folders, description in tried:
            total = self._total(sorted(folders))
            if total.episodes:
                return Basis(total.times(1 / total.episodes), f"{total.episodes:.0f} past episodes of {description}")
        return None

    def finished(self, out: Path, config: RunConfig) -> Usage:
        """Totals over the finished episodes of runs with exactly this configuration below ``out``."""
        below = out.resolve()
        wanted = config.model_dump()
        return self._total([one for one, meta in self._runs.items() if below in one.parents and meta.config == wanted])

    def _total(self, folders: Sequence[Path]) -> Usage:
        total = Usage()
        for folder in folders:
            if folder not in self._used:
                self._used[folder] = usage_of(folder, self._rates)
            total += self._used[folder]
        return total


def _router(meta: RunMeta) -> tuple[str, object]:
    return meta.router, meta.config.get("router_args")
