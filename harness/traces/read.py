"""From a run folder to the numbers of its episodes. Texts are dropped as each line is read, so memory stays small."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from harness.data import ModelCard
from harness.errors import MixrouteError
from harness.records import Episode, EpisodeTiming, RunMeta
from harness.speed.rates import Rates
from harness.text import quoted
from harness.traces.clock import CLOCK, Clock, ClockMeta, EpisodeClock, read_clock
from harness.traces.contamination import SEEN, instance_key, read_seen
from harness.traces.cost import Costs, episode_cost
from harness.traces.store import EPISODES, RUN, SCHEMA, TIMINGS, read_meta, read_timed


@dataclass(frozen=True, slots=True)
class EpisodeNumbers:
    """The numbers of one episode that the board needs."""

    instance: str
    seed: int
    kind: str
    score: float
    success: bool
    error: bool
    steps: int
    invalid: int
    judged: int
    """Steps of a known ``valid``; the rest are of tasks that list no admissible actions."""
    high: float
    """Steps that the high-precision model answered; of a joined answer, the share of its tokens that it wrote."""
    cost: Costs
    """Sum over all calls; None for a timed cost model where a call was not measured, and for the others where the
    tokens of one are not known."""
    tokens: Mapping[str, tuple[int, int, int]]
    """See ``tokens_by_model``."""
    untold: frozenset[str] = frozenset()
    """Models that were called and whose numbers of tokens are not all known."""
    timed: TimedEpisode | None = None
    """What ``mixroute time`` measured of it."""


@dataclass(frozen=True, slots=True)
class TimedEpisode:
    """An episode that ``mixroute time`` replayed."""

    lines: tuple[EpisodeClock, ...]
    """In order of pass."""
    router: tuple[float, ...] | None
    """Seconds of the router's own code in each step, when it was played; None where they were not recorded."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run or entry folder: what was run, and the numbers of its finished episodes in order of instance."""

    folder: Path
    meta: RunMeta
    played: tuple[EpisodeNumbers, ...]
    clock: ClockMeta | None = None
    """How its seconds were measured; None where they were not, or a speed card takes their place."""


def read_run(folder: Path, rates: Rates | None = None) -> Run:
    """Read a run folder through ``harness.traces.store``.

    Costs have the seconds of ``rates``, or none: those at which a run was played cannot be compared. What ``mixroute
    time`` measured is in ``timed`` of each episode, unless there are ``rates``.

    Raises:
        MixrouteError: a file is missing or corrupt, or its lines contradict ``run.json``; the message names the file.
    """
    meta = read_meta(folder)
    if meta.schema != SCHEMA:
        raise MixrouteError(
            f"{folder / RUN} has schema {meta.schema}, not {SCHEMA}: read it with the version of mixroute that wrote it"
        )
    seen = read_seen(folder)
    for instance in meta.instances:
        if instance_key(meta.task, instance) in seen:
            raise MixrouteError(
                f"{folder}: {SEEN} says that its models or its router were trained on {quoted(instance)}, which it "
                "reports: take the entry out"
            )
    cards = model_cards(folder, meta)
    planned = frozenset(meta.instances)
    clock = read_clock(folder, meta)
    played: dict[str, EpisodeNumbers] = {}
    for episode, timing in read_timed(folder):
        _check(folder, meta, episode, planned)
        if episode.instance in played:
            raise MixrouteError(
                f"{folder / EPISODES} holds instance {quoted(episode.instance)} twice: delete one of the lines"
            )
        check_shape(folder, episode, timing)
        numbers = episode_numbers(folder, episode, cards, None, rates)
        if clock is not None:
            clock.check_shape(episode, folder)
            if rates is None:
                numbers = replace(numbers, timed=timed_episode(episode, clock, timing))
        played[episode.instance] = numbers
    if clock is not None and (lost := set(clock.lines) - set(played)):
        raise MixrouteError(
            f"{folder / EPISODES} has no episode of {quoted(min(lost))}, which {CLOCK} times: restore the file, or "
            f"delete {CLOCK} to do without seconds"
        )
    shown = None if clock is None or rates is not None else clock.meta
    return Run(folder, meta, tuple(played[instance] for instance in sorted(played)), shown)


def timed_episode(episode: Episode, clock: Clock, timing: EpisodeTiming | None) -> TimedEpisode | None:
    """What a clock has of an episode; None where it was not replayed.

    Args:
        episode: The episode.
        clock: The clock of its run, whose shape was checked.
        timing: The times at which it was played, which have the router's own code.
    """
    lines = clock.lines.get(episode.instance)
    if lines is None:
        return None
    return TimedEpisode(tuple(lines), None if timing is None else tuple(step.router for step in timing.steps))


def model_cards(folder: Path, meta: RunMeta) -> dict[str, ModelCard]:
    """The cards of ``run.json``.

    Raises:
        MixrouteError: one is not valid.
    """
    try:
        cards = {name: msgspec.convert(card, ModelCard) for name, card in meta.models.items()}
    except msgspec.ValidationError as error:
        raise MixrouteError(
            f"{folder / RUN}: a card under 'models' is not valid ({error}): restore the file"
        ) from error
    for name, card in cards.items():
        if card.weight_bytes <= 0 or card.parameters <= 0:  # costs are computed from them
            raise MixrouteError(f"{folder / RUN}: model {quoted(name)} has no bytes or no parameters: restore the file")
    return cards


def _check(folder: Path, meta: RunMeta, episode: Episode, planned: frozenset[str]) -> None:
    for name, found, expected in (
        ("schema", episode.schema, SCHEMA),
        ("run", episode.run, meta.hash),
        ("seed", episode.seed, meta.seed),
    ):
        if found != expected:
            raise MixrouteError(
                f"{folder / EPISODES}: instance {quoted(episode.instance)} has {name} {quoted(found)}, but {RUN} says "
                f"{quoted(expected)}: the two are of different runs; restore the one that was replaced, or delete "
                f"the folder"
            )
    if episode.instance not in planned:
        raise MixrouteError(
            f"{folder / EPISODES}: instance {quoted(episode.instance)} is not among the 'instances' of {RUN}: "
            "restore the file that was changed, or delete the line"
        )


def check_shape(folder: Path, episode: Episode, timing: EpisodeTiming | None) -> None:
    """Check that the times at which an episode was played have its steps and calls.

    Raises:
        MixrouteError: they have others.
    """
    if timing is None:
        return
    shape = [len(step.calls) for step in episode.steps]
    if timing.seed != episode.seed or [len(step.calls) for step in timing.steps] != shape:
        raise MixrouteError(
            f"{folder / TIMINGS}: instance {quoted(episode.instance)} has other steps, calls or seed than {EPISODES}: "
            f"restore the file, or delete it to do without measured seconds"
        )


def episode_numbers(
    folder: Path,
    episode: Episode,
    cards: Mapping[str, ModelCard],
    timing: EpisodeTiming | None,
    rates: Rates | None = None,
) -> EpisodeNumbers:
    """Reduce an episode to its numbers.

    Args:
        folder: Where it lies, for errors.
        episode: The episode.
        cards: The cards of the pool's models.
        timing: The times to charge, whose shape was checked; None if seconds are not known.
        rates: Seconds of calls in place of them.

    Raises:
        MixrouteError: it calls a model without a card.
    """
    try:
        cost = episode_cost(episode, cards, timing, rates)
    except KeyError as missing:
        raise MixrouteError(
            f"{folder / EPISODES}: instance {quoted(episode.instance)} calls the model {quoted(missing.args[0])}, "
            f"which has no card under 'models' in {RUN}: restore the file that was changed"
        ) from missing
    error = episode.end == "error"
    return EpisodeNumbers(
        instance=episode.instance,
        seed=episode.seed,
        kind=episode.kind,
        score=episode.score,
        success=episode.success and not error,
        error=error,
        steps=len(episode.steps),
        invalid=sum(step.valid is False for step in episode.steps),
        judged=sum(step.valid is not None for step in episode.steps),
        high=sum(step.high_share for step in episode.steps),
        cost=cost,
        tokens=tokens_by_model([episode]),
        untold=untold_models(episode),
    )


def untold_models(episode: Episode) -> frozenset[str]:
    """Models whose numbers of tokens are not known in one of their calls."""
    return frozenset(call.model for step in episode.steps for call in step.calls if not call.usage_known)


def tokens_by_model(episodes: Iterable[Episode]) -> dict[str, tuple[int, int, int]]:
    """Tokens of all calls by model: prompt tokens computed, prompt tokens cached, and decoded tokens."""
    found: dict[str, tuple[int, int, int]] = {}
    for call in (call for episode in episodes for step in episode.steps for call in step.calls):
        read, cached, written = found.get(call.model, (0, 0, 0))
        read += call.prompt_tokens - call.cached_tokens
        found[call.model] = (read, cached + call.cached_tokens, written + call.decoded_tokens)
    return found
