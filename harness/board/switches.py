"""``mixroute switches``: redundant prefill where models take turns, what it costs in time, and what one key-value cache
for all of them saves of it (docs/cost.md).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from harness.backends.reading import Encoded, Readings, block_ends
from harness.data import HIGH
from harness.errors import MixrouteError
from harness.records import CallRecord, Episode, RunMeta
from harness.scaffolds import APPEND_ONLY
from harness.sharing import SharedCache, sharing_of, stated_sharing
from harness.speed.rates import Rates
from harness.terminal import line
from harness.text import quoted
from harness.traces.read import untold_models
from harness.traces.store import RUN, read_episodes, read_meta


class Switches(msgspec.Struct, frozen=True):
    """Switches of one router in one group of runs; the numbers but ``episodes`` are means over episodes."""

    task: str
    split: str
    group: str
    label: str
    episodes: int
    shares: bool
    """Whether the models shared a key-value cache."""
    switches: float
    """Calls to another model than the call before."""
    prefill_tokens: float
    """Prompt tokens that were not cached."""
    prefill_tokens_at_switches: float
    """Prefill tokens in calls that switched."""
    redundant_prefill_tokens: float
    """Prefill tokens beyond the longest prompt of the episode: a router of one model has none of them, unless prompts
    drop turns or thoughts are cut."""
    offloaded_tokens: float
    """Tokens of the answers taken that another model than high decoded."""
    own_cache_prefill_tokens: float | None
    """Prefill tokens of the same calls where each model has a cache of its own; None where prompts do not grow."""
    one_cache_prefill_tokens: float | None
    """Prefill tokens of the same calls where the models share one; None where they cannot, since their sizes differ."""
    prefill_seconds: float | None = None
    """Seconds by the card, less those of the same steps by high alone."""
    decode_seconds: float | None = None
    """Seconds by the card, less those of the same steps by high alone."""
    high_alone_seconds: float | None = None
    """Seconds by the card of the same steps by high alone, prefill and decode."""

    @property
    def redundant_per_offloaded(self) -> float | None:
        """Redundant prefill tokens for each offloaded token; None where nothing was offloaded.

        Routing saves time only where decoding a token by high takes longer than decoding it by low and their prefill.
        """
        return self.redundant_prefill_tokens / self.offloaded_tokens if self.offloaded_tokens else None

    @property
    def net_seconds(self) -> float | None:
        """Seconds an episode beyond those of high alone; below 0 routing has saved time."""
        if self.prefill_seconds is None or self.decode_seconds is None:
            return None
        return self.prefill_seconds + self.decode_seconds


def count_switches(folders: Iterable[Path], rates: Rates | None = None) -> list[Switches]:
    """Count switches and redundant prefill of runs, by group and router; those that switch most stand first.

    Args:
        folders: Runs or entries.
        rates: Seconds of calls; without them no seconds are computed.

    Raises:
        MixrouteError: a folder cannot be read, or with ``rates`` a pool has no high.
    """
    folders_of: defaultdict[tuple[str, str, str, str], list[tuple[Path, RunMeta]]] = defaultdict(list)
    for folder in folders:
        meta = read_meta(folder)
        if rates is not None and HIGH not in meta.models:
            raise MixrouteError(
                f"{folder}: pool {quoted(meta.pool)} has no model '{HIGH}' to compare with: do without --card"
            )
        folders_of[meta.task, meta.split, meta.group, meta.label].append((folder, meta))
    found = []
    for key in sorted(folders_of):
        count, sums = 0, [0.0] * 8
        own: list[int | None] = []
        one_cache: list[int | None] = []
        shares = False
        # What another router would read of prompts that drop turns, a trace does not say.
        extends = all(meta.protocol.get(APPEND_ONLY, True) for _, meta in folders_of[key])
        for folder, meta in folders_of[key]:
            sharing, shares = _sharing(folder, meta), bool(stated_sharing(meta.config))
            for one in read_episodes(folder):
                count, sums = count + 1, [sum(pair) for pair in zip(sums, _episode(one, rates), strict=True)]
                own.append(_prefill_tokens(one, Readings()) if extends else None)
                known = sharing is not None and extends
                one_cache.append(_prefill_tokens(one, Readings.of(sharing)) if known else None)
        means = [value / max(1, count) for value in sums]
        seconds = means[5:] if rates is not None and extends else [None] * 3
        figures = [*means[:5], _mean(own), _mean(one_cache), *seconds]
        found.append(Switches(*key, count, shares, *figures))
    return sorted(found, key=lambda one: (one.task, one.split, one.group, -one.switches))


def _episode(episode: Episode, rates: Rates | None) -> tuple[float, ...]:
    for model in untold_models(episode):
        raise MixrouteError(
            f"{quoted(episode.instance)}: the endpoint of model {quoted(model)} did not tell its tokens, so that "
            "prefill cannot be counted: leave that run out"
        )
    calls = [call for step in episode.steps for call in step.calls]
    unread = [call.prompt_tokens - call.cached_tokens for call in calls]
    at_switches = sum(count for call, count in zip(calls, unread, strict=True) if call.switch)
    longest = max((call.prompt_tokens for call in calls), default=0)
    seconds = (0.0, 0.0, 0.0) if rates is None else _seconds(calls, list(_by_high_alone(episode)), rates)
    offloaded = sum(call.decoded_tokens for step in episode.steps for call in step.made_of if call.model != HIGH)
    return sum(call.switch for call in calls), sum(unread), at_switches, sum(unread) - longest, offloaded, *seconds


def _sharing(folder: Path, meta: RunMeta) -> SharedCache | None:
    """The models that shared a cache; else all of the pool, if they are of one size; None if they are not."""
    stated = sharing_of(meta.config, str(folder / RUN))
    alike = len({card.get("parameters") for card in meta.models.values()}) == 1
    return SharedCache(shared=sorted(meta.models)) if stated is None and alike and len(meta.models) > 1 else stated


def _prefill_tokens(episode: Episode, read: Readings) -> int | None:
    """Prompt tokens that the calls of an episode must read, in the order in which they were made.

    A pure function of the calls: a turn is what a step adds to the prompt, the first prompt counts as one turn, and
    part of an answer is in blocks. None where a step's prompt is no longer than the one before, or calls of a step
    tokenise it in fewer tokens.
    """
    ends: list[int] = []
    total = 0
    for number, step in enumerate(step for step in episode.steps if step.calls):
        length = step.calls[0].prompt_tokens
        if length <= (ends[-1] if ends else 0) or min(call.prompt_tokens for call in step.calls) < length:
            return None
        ends.append(length)
        for call in step.calls:
            # One id for each turn and block is enough, since only whole ones are compared: its place.
            blocks = block_ends(length, call.prompt_tokens)
            ids = [*range(number + 1), *(-(end << 32) - number for end in blocks)]
            begun = None if call.read is None else number + 1
            prompt = Encoded(ids, tuple(range(1, len(ids) + 1)), begun)
            cached = read.call(call.model, prompt, only_read=call.decoded_tokens == 0)
            total += call.prompt_tokens - [0, *ends, *blocks][cached]
    return total


def _mean(values: list[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _by_high_alone(episode: Episode) -> Iterator[CallRecord]:
    """The answers that were taken, as if high had given each of them, with the earlier prompts in its cache."""
    cached = 0
    for step in episode.steps:
        if not step.calls:
            continue
        prompt, decoded = step.calls[0].prompt_tokens, sum(call.decoded_tokens for call in step.made_of)
        yield msgspec.structs.replace(
            step.calls[-1], model=HIGH, prompt_tokens=prompt, cached_tokens=min(cached, prompt), decoded_tokens=decoded
        )
        cached = prompt


def _seconds(calls: list[CallRecord], alone: list[CallRecord], rates: Rates) -> tuple[float, float, float]:
    """Prefill and decode, each less that of high alone; and both of high alone."""

    def parts(some: list[CallRecord]) -> tuple[float, float]:
        prefill = sum(rates.prefill_seconds(call.model, call.prompt_tokens - call.cached_tokens) for call in some)
        return prefill, sum(rates.seconds(call) for call in some) - prefill

    (prefill, decode), (alone_prefill, alone_decode) = parts(calls), parts(alone)
    return prefill - alone_prefill, decode - alone_decode, alone_prefill + alone_decode


def print_switches(found: list[Switches], console: Console) -> None:
    """Print a table a group."""
    groups: defaultdict[tuple[str, str, str], list[Switches]] = defaultdict(list)
    for one in found:
        groups[one.task, one.split, one.group].append(one)
    for (task, split, _), rows in groups.items():
        timed = rows[0].net_seconds is not None
        means = "mean of an episode; seconds beyond those of high alone" if timed else "means of n episodes"
        title = f"{task}, {split}: {means}"
        table = Table(title=line(title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
        table.add_column("router", overflow="fold")
        other = "own caches" if rows[0].shares else "one cache"
        for name in ("switches", *(_TIMED if timed else (*_COUNTED, other))):
            table.add_column(name, justify="right")
        for one in rows:
            table.add_row(line(one.label), f"{one.switches:.1f}", *(_times(one) if timed else _counts(one)))
        console.print(table)


_COUNTED = ("n", "prefill\ntokens", "at\nswitches", "redundant", "per\noffloaded")  # 80 columns leave 12 to a label
_TIMED = ("redundant per offloaded", "prefill s", "decode s", "net s", "high alone s")


def _counts(one: Switches) -> list[str]:
    redundant = f"{one.redundant_prefill_tokens:.0f}"
    if one.prefill_tokens:
        redundant += f" ({one.redundant_prefill_tokens / one.prefill_tokens:.0%})"
    tokens = (f"{one.prefill_tokens:.0f}", f"{one.prefill_tokens_at_switches:.0f}", redundant)
    other = one.own_cache_prefill_tokens if one.shares else one.one_cache_prefill_tokens
    return [str(one.episodes), *tokens, _per_offloaded(one), "" if other is None else f"{other:.0f}"]


def _times(one: Switches) -> list[str]:
    beyond = (one.prefill_seconds, one.decode_seconds, one.net_seconds)
    shown = [f"{value:+.2f}" for value in beyond if value is not None]
    return [_per_offloaded(one), *shown, f"{one.high_alone_seconds:.2f}"]


def _per_offloaded(one: Switches) -> str:
    return "" if one.redundant_per_offloaded is None else f"{one.redundant_per_offloaded:.1f}"
