"""Generation of a problem from split and number, equal on every machine; no problem belongs to two splits."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache

from harness.seeding import seed_for
from mixroute import MixrouteError, is_fresh_split
from tasks.reasoning.arith.stories import LEVELS, STORIES, Story

VERSION = 1
"""Changes whenever the same split and number would give another problem."""

SIZES = {"dev": 240, "test": 480}
"""Problems of the fixed splits."""

TRAIN_PROBLEMS = 2400

KINDS = tuple(f"{story}-{level}" for level in LEVELS for story in STORIES)
"""Task types; problems take turns."""

_SHOTS = "shots"
"""A split of its own for the examples in a prompt."""

_TENTHS = {"test": (0, 1), "dev": (2,), _SHOTS: (3,), "train": (4, 5, 6, 7, 8, 9)}
"""Split of each tenth of all chains of equations, by hash. A test problem is therefore not even a train problem with
other people and things."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A question with its worked solution."""

    split: str
    number: int
    kind: str
    question: str
    steps: tuple[str, ...]
    """One line for each step; every line ends in an equation."""
    answer: int

    @property
    def id(self) -> str:
        """Unique within ``arith-gen``; sorts by number."""
        return f"{self.split}/{self.number:07d}-{self.kind}"

    @property
    def solution(self) -> str:
        """The steps and the marked answer."""
        return "\n".join([*self.steps, f"#### {self.answer}"])


@lru_cache(maxsize=1 << 16)
def problem(split: str, number: int) -> Problem:
    """The problem with this number of this split."""
    return _fixed(split)[number] if size(split) else _draw(split, number)


def size(split: str) -> int | None:
    """How many problems a fixed or fresh split has; None for others."""
    return SIZES.get("test" if is_fresh_split(split) else split)


@lru_cache
def _fixed(split: str) -> tuple[Problem, ...]:
    """The problems of a split for reporting, no two with the same steps, and those of a fresh one with other steps than
    any of ``test``. Train problems may repeat by chance.
    """
    drawn: list[Problem] = []
    taken = {one.steps for one in _fixed("test")} if is_fresh_split(split) else set()
    for number in range(size(split) or 0):
        drawn.append(_draw(split, number, taken))
        taken.add(drawn[-1].steps)
    return tuple(drawn)


def _draw(split: str, number: int, taken: Collection[tuple[str, ...]] = ()) -> Problem:
    kind = KINDS[number % len(KINDS)]
    story_name, _, level = kind.rpartition("-")
    rng = random.Random(f"arith-gen {VERSION} {split} {number}")  # noqa: S311 - no secret
    while True:
        story = Story(rng, LEVELS[level])
        STORIES[story_name](story)
        steps = tuple(story.steps)
        tenths = _TENTHS["test" if is_fresh_split(split) else split]
        if seed_for("arith-gen", *story.equations) % 10 in tenths and steps not in taken:
            return Problem(split, number, kind, " ".join(story.sentences), steps, story.value)


def problems_of(split: str, count: int | None, seed: int) -> Iterator[Problem]:
    """Problems of a split.

    Args:
        split: ``train``, ``dev``, ``test`` or a fresh one.
        count: How many; None for all of a fixed or fresh split and 2,400 of ``train``.
        seed: Number of the first; for ``train`` only.

    Raises:
        MixrouteError: unknown split, or numbers that it does not have.
    """
    most = size(split)
    if most is None and split != "train":
        raise MixrouteError(f"arith-gen has no split '{split}': use one of train, {', '.join(SIZES)}")
    if most is not None and seed:
        raise MixrouteError(f"arith-gen {split}: seed = {seed}: only train has more than one")
    if seed < 0:
        raise MixrouteError(f"arith-gen {split}: seed = {seed}: use 0 or more")
    wanted = count if count is not None else most or TRAIN_PROBLEMS
    if wanted < 1 or (most is not None and wanted > most):
        raise MixrouteError(f"arith-gen {split}: problems = {wanted}: use 1 to {most or 'any number'}")
    return (problem(split, number) for number in range(seed, seed + wanted))


def shots(count: int) -> tuple[Problem, ...]:
    """Examples for a prompt, of different stories and growing length."""
    return tuple(problem(_SHOTS, index * (len(STORIES) + 1) % len(KINDS)) for index in range(count))
