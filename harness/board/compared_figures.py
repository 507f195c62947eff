"""Figures of two routers that ``mixroute compare`` sets against each other, by episode."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from statistics import fmean

from harness.board.clocks import episode_walls, row_seconds, step_walls
from harness.board.runs import RunsAcrossSeeds
from harness.errors import MixrouteError
from harness.metrics.comparison import Key
from harness.traces.cost import COST_MODELS, SECONDS
from harness.traces.read import EpisodeNumbers

RELATIVE = "always-high = 1"
"""Unit of costs that are multiples of always-high's mean."""


@dataclass(frozen=True, slots=True)
class ComparedFigure:
    """One figure of two routers.

    Args:
        name: Its name; see ``Comparison.figure``.
        first: Values of the first router by instance and seed, whose mean is the figure.
        second: Those of the second.
        unit: Their unit; empty for a share of 1.
    """

    name: str
    first: Mapping[Key, float]
    second: Mapping[Key, float]
    unit: str = ""


def figures_of(
    ours: RunsAcrossSeeds, theirs: RunsAcrossSeeds, reference: Sequence[EpisodeNumbers], *, by_card: bool
) -> Iterator[ComparedFigure]:
    """The figures that are known of both routers.

    Args:
        ours: The first router.
        theirs: The second.
        reference: Episodes of the group's always-high; empty without one.
        by_card: Whether seconds are those of a speed card.

    Raises:
        MixrouteError: seconds are a speed card's, and an episode's are not known.
    """
    yield ComparedFigure("success", *_each(ours, theirs, lambda played: float(played.success)))
    yield ComparedFigure("score", *_each(ours, theirs, lambda played: played.score))
    shares = [{_key(one): (one.high, one.steps) for one in row.played} for row in (ours, theirs)]
    yield ComparedFigure("high_share", _ratio(shares[0]), _ratio(shares[1]))
    for name, model in COST_MODELS.items():
        if name != SECONDS:
            yield from _costs(name, model.unit, model.scale, ours, theirs, reference)
    if by_card:
        yield ComparedFigure("gpu_seconds", *_each(ours, theirs, _card_seconds), "s")
    else:
        yield from _clocks(ours, theirs)


def _costs(
    name: str,
    unit: str,
    scale: float,
    ours: RunsAcrossSeeds,
    theirs: RunsAcrossSeeds,
    reference: Sequence[EpisodeNumbers],
) -> Iterator[ComparedFigure]:
    """A cost of an episode, over always-high's mean where there is one; nothing where it is not known."""
    amounts = [[(_key(one), one.cost[name]) for one in row.played] for row in (ours, theirs)]
    known = [{key: amount for key, amount in row if amount is not None} for row in amounts]
    if any(len(some) < len(row) for some, row in zip(known, amounts, strict=True)):
        return
    base = [amount for one in reference if (amount := one.cost[name]) is not None]
    divisor = fmean(base) if base and len(base) == len(reference) else 0.0
    first, second = ({key: amount / (divisor or scale) for key, amount in row.items()} for row in known)
    yield ComparedFigure(name, first, second, RELATIVE if divisor else unit)


def _clocks(ours: RunsAcrossSeeds, theirs: RunsAcrossSeeds) -> Iterator[ComparedFigure]:
    """What ``mixroute time`` measured of both: device seconds and, in one session, the wall time of episode and step.

    Of two sessions only device seconds are comparable, each over always-high's in its session.
    """
    one, two = row_seconds(ours.runs), row_seconds(theirs.runs)
    if one.clock is None or two.clock is None:
        return
    if one.clock.session == two.clock.session:
        yield ComparedFigure("seconds", one.by_episode, two.by_episode, "s")
        timed = [[played for played in row.played if played.timed] for row in (ours, theirs)]
        walls = [{_key(played): fmean(episode_walls(played)) for played in row} for row in timed]
        yield ComparedFigure("episode_wall", walls[0], walls[1], "s")
        steps = [{_key(played): (fsum(step_walls(played)), len(step_walls(played))) for played in row} for row in timed]
        yield ComparedFigure("step_wall", _ratio(steps[0]), _ratio(steps[1]), "s")
    elif one.reference and two.reference:
        first = {key: value / one.reference for key, value in one.by_episode.items()}
        second = {key: value / two.reference for key, value in two.by_episode.items()}
        yield ComparedFigure("relative_seconds", first, second, RELATIVE)


def _ratio(parts: Mapping[Key, tuple[float, float]]) -> dict[Key, float]:
    """Values of episodes whose mean is the ratio of two sums, and whose spread is that of the ratio.

    For numerators a and denominators b with ratio r = sum(a) / sum(b) the value of an episode is its linearisation,
    r + (a - r b) / mean(b) (delta method; W. G. Cochran, Sampling Techniques, 1977, section 6.3).
    """
    total = fsum(below for _, below in parts.values())
    if not total:
        return dict.fromkeys(parts, 0.0)
    ratio, mean = fsum(above for above, _ in parts.values()) / total, total / len(parts)
    return {key: ratio + (above - ratio * below) / mean for key, (above, below) in parts.items()}


def _each(
    ours: RunsAcrossSeeds, theirs: RunsAcrossSeeds, value: Callable[[EpisodeNumbers], float]
) -> tuple[dict[Key, float], dict[Key, float]]:
    first, second = ({_key(played): value(played) for played in row.played} for row in (ours, theirs))
    return first, second


def _key(played: EpisodeNumbers) -> Key:
    return played.instance, played.seed


def _card_seconds(played: EpisodeNumbers) -> float:
    amount = played.cost[SECONDS]
    if amount is None:
        raise MixrouteError(
            f"{played.instance}: its {SECONDS} are not known, as a call was not measured or an endpoint did not tell "
            "its tokens: leave that run out"
        )
    return amount
