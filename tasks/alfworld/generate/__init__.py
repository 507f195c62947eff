"""Generated games: random rooms in the vocabulary of the official games, each proved to be winnable.

The game of a split and number is always the same, on every machine: ``random.Random`` is seeded with text.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from mixroute import MixrouteError, is_fresh_split
from tasks.alfworld.data import TASK_TYPES, GameData
from tasks.alfworld.game import Game
from tasks.alfworld.generate.layout import Layout, draw
from tasks.alfworld.generate.plan import walkthrough
from tasks.alfworld.generate.problem import problem, sentence

VERSION = 1
"""Changes whenever the same split and number would give another game."""

SIZES = {"dev": 60, "test": 120}
"""Games of the fixed splits."""

TRAIN_GAMES = 600


@dataclass(frozen=True, slots=True)
class GeneratedGame:
    """The game with this number of this split; drawn when it is loaded. Types take turns."""

    split: str
    number: int

    @property
    def kind(self) -> str:
        """The task type."""
        return TASK_TYPES[self.number % len(TASK_TYPES)]

    @property
    def id(self) -> str:
        """Unique within ``alfworld-gen``; sorts by number."""
        return f"{self.split}/{self.number:07d}-{self.kind}"

    def layout(self) -> Layout:
        """The room and the goal."""
        return draw(self.kind, self.rng("layout"))

    def rng(self, purpose: str) -> random.Random:
        """Numbers for one part of the drawing."""
        # Splits are seeded apart, so no train seed can reach a dev or test game.
        return random.Random(f"alfworld-gen {VERSION} {self.split} {self.number} {purpose}")  # noqa: S311 - no secret

    def load(self) -> GameData:
        """Draw the game and prove that it can be won and is not won yet."""
        return _drawn(self)


@lru_cache(maxsize=512)
def _drawn(game: GeneratedGame) -> GameData:
    layout = game.layout()
    text = problem(layout, f"{game.split}_{game.number}")
    task = sentence(layout, game.rng("sentence"))
    play = Game(text, task)
    if play.won:
        raise RuntimeError(f"the generated game {game.id} is won before it starts")
    return GameData(game.id, task, text, walkthrough(layout, play))


def games_of(split: str, games: int | None, seed: int) -> Sequence[int]:
    """Numbers of the games of a split.

    Args:
        split: ``train``, ``dev``, ``test`` or a fresh one, which has as many games as ``test``.
        games: How many; default all of a fixed or fresh split, and 600 of ``train``.
        seed: Number of the first game; ``train`` only.

    Raises:
        MixrouteError: unknown split, or numbers that it does not have.
    """
    if split == "train":
        count = TRAIN_GAMES if games is None else games
        if count < 1 or seed < 0 or seed + count > 10**7:
            raise MixrouteError(f"alfworld-gen train: games = {count}, seed = {seed}: games are numbered 0..9999999")
        return range(seed, seed + count)
    most = SIZES.get("test" if is_fresh_split(split) else split)
    if most is None:
        raise MixrouteError(f"alfworld-gen has no split '{split}': use one of train, {', '.join(SIZES)}")
    count = most if games is None else games
    if seed or not 1 <= count <= most:
        raise MixrouteError(f"alfworld-gen {split} is fixed: give games = 1..{most} and no seed")
    return range(count)
