"""``mixroute switches``: what is read again because models take turns, and when that eats the gain (docs/cost.md)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from harness.data import HIGH
from harness.errors import MixrouteError
from harness.records import CallRecord, Episode
from harness.speed.rates import Rates
from harness.traces.store import read_episodes, read_meta


class Switches(msgspec.Struct, frozen=True):
    """Of one router in one group of runs; all but the counts are means over episodes."""

    task: str
    split: str
    group: str
    label: str
    episodes: int
    switches: float
    """Calls to another model than the call before."""
    read: float
    """Prompt tokens that were not cached."""
    read_at_switches: float
    """Those of them in calls that switched."""
    again: float
    """Those of them that a router of one model would not have read: all beyond the longest prompt of the episode."""
    spared: float
    """Tokens of answers that another model than high gave: those that high did not write."""
    reading: float | None = None
    """Seconds by the card, less those of the same steps by high alone; so are the next two."""
    writing: float | None = None
    high_alone: float | None = None
    """Seconds by the card of the same steps by high alone."""

    @property
    def again_each(self) -> float | None:
        """Tokens read again for each that high was spared; None where it was spared none.

        Routing gains only where writing a token by high, less writing it by low, takes longer than reading so many.
        """
        return self.again / self.spared if self.spared else None

    @property
    def net(self) -> float | None:
        """What routing has cost beyond high alone, in seconds an episode; below 0 it has gained."""
        return None if self.reading is None or self.writing is None else self.reading + self.writing


def count_switches(folders: Iterable[Path], rates: Rates | None = None) -> list[Switches]:
    """Count what the runs' traces say, by group and router; those that switch most stand first.

    Args:
        folders: Of runs or entries.
        rates: Seconds of calls, for the last columns.

    Raises:
        MixrouteError: a folder cannot be read, or with ``rates`` a pool has no high.
    """
    piles: defaultdict[tuple[str, str, str, str], list[Path]] = defaultdict(list)
    for folder in folders:
        meta = read_meta(folder)
        if rates is not None and HIGH not in meta.models:
            raise MixrouteError(
                f"{folder}: pool '{meta.pool}' has no model '{HIGH}' to compare with: do without --card"
            )
        piles[meta.task, meta.split, meta.group, meta.label].append(folder)
    found = []
    for key in sorted(piles):
        episodes = [_episode(one, rates) for folder in piles[key] for one in read_episodes(folder)]
        means = [sum(values) / len(episodes) for values in zip(*episodes, strict=True)] if episodes else [0.0] * 8
        seconds = means[5:] if rates is not None else [None] * 3
        found.append(Switches(*key, len(episodes), *means[:5], *seconds))
    return sorted(found, key=lambda one: (one.task, one.split, one.group, -one.switches))


def _episode(episode: Episode, rates: Rates | None) -> tuple[float, ...]:
    calls = [call for step in episode.steps for call in step.calls]
    unread = [call.prompt_tokens - call.cached_tokens for call in calls]
    at_switches = sum(count for call, count in zip(calls, unread, strict=True) if call.switch)
    longest = max((call.prompt_tokens for call in calls), default=0)
    seconds = (0.0, 0.0, 0.0) if rates is None else _seconds(calls, list(_by_high_alone(episode)), rates)
    spared = sum(call.decoded_tokens for step in episode.steps for call in step.made_of if call.model != HIGH)
    return sum(call.switch for call in calls), sum(unread), at_switches, sum(unread) - longest, spared, *seconds


def _by_high_alone(episode: Episode) -> Iterator[CallRecord]:
    """The answers that were taken, as if high had given each of them, and had read all before."""
    before = 0
    for step in episode.steps:
        if not step.calls:
            continue
        prompt, written = step.calls[0].prompt_tokens, sum(call.decoded_tokens for call in step.made_of)
        yield msgspec.structs.replace(
            step.calls[-1], model=HIGH, prompt_tokens=prompt, cached_tokens=min(before, prompt), decoded_tokens=written
        )
        before = prompt


def _seconds(calls: list[CallRecord], alone: list[CallRecord], rates: Rates) -> tuple[float, float, float]:
    """Reading and writing, each less that of high alone; and both of high alone."""

    def parts(some: list[CallRecord]) -> tuple[float, float]:
        reading = sum(rates.reading(call.model, call.prompt_tokens - call.cached_tokens) for call in some)
        return reading, sum(rates.seconds(call) for call in some) - reading

    (read, written), (least, high) = parts(calls), parts(alone)
    return read - least, written - high, least + high


def print_switches(found: list[Switches], console: Console) -> None:
    """Print a table a group."""
    groups: defaultdict[tuple[str, str, str], list[Switches]] = defaultdict(list)
    for one in found:
        groups[one.task, one.split, one.group].append(one)
    for (task, split, _), rows in groups.items():
        timed = rows[0].net is not None
        title = f"{task}, {split}: an episode's mean" + ("; seconds less those of high alone" if timed else "")
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
        table.add_column("router", overflow="fold")
        for name in ("switches", *(_TIMED if timed else _COUNTED)):
            table.add_column(name, justify="right")
        for one in rows:
            table.add_row(one.label, f"{one.switches:.1f}", *(_times(one) if timed else _counts(one)))
        console.print(table)


_COUNTED = ("episodes", "read", "at switches", "again", "each spared")
_TIMED = ("each spared", "reading", "writing", "net", "high alone")


def _counts(one: Switches) -> list[str]:
    share = f" ({one.again / one.read:.0%})" if one.read else ""
    tokens = (f"{one.read:.0f}", f"{one.read_at_switches:.0f}", f"{one.again:.0f}{share}")
    return [str(one.episodes), *tokens, _each(one)]


def _times(one: Switches) -> list[str]:
    less = [f"{value:+.2f}" for value in (one.reading, one.writing, one.net) if value is not None]
    return [_each(one), *less, f"{one.high_alone:.2f}"]


def _each(one: Switches) -> str:
    return "" if one.again_each is None else f"{one.again_each:.1f}"
