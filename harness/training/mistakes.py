"""Mistakes in demonstrations: steps that the expert would not take. A model reads them and does not learn them."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence

from harness.data import Observation, Turn

REPEATED = 0.5
"""Chance that a mistaken thought is followed by itself once more: agents that think repeat themselves word for word."""
_NUMBER = re.compile(r"(?<=[a-z] )\d+\b")


def mistaken_action(observation: Observation, offered: Iterable[str], rng: random.Random) -> str:
    """An admissible action, or one that was admissible earlier and no longer is; empty where there is none.

    Args:
        observation: What is shown.
        offered: All actions that were admissible so far.
        rng: Draws it.
    """
    stale = set(offered).difference(observation.admissible)
    choices = sorted(stale) if stale and rng.random() < 0.5 else sorted(observation.admissible)
    return rng.choice(choices) if choices else ""


class MistakenThoughts:
    """Thoughts that are wrong where they stand, with the actions that follow from them.

    A mistaken thought is that of another step of the expert's own play of the instance: of an earlier one, so that the
    agent does once more what is done, or of a later one, so that it takes for seen what it has not seen. Half of them
    speak of another number, as ``cabinet 6`` for ``cabinet 2``, which may not exist.

    Args:
        chance: Chance that a step is mistaken.
        play: The expert's own turns from the start.
        rng: Draws the mistakes.
    """

    def __init__(self, chance: float, play: Sequence[Turn], rng: random.Random) -> None:
        self._chance = chance
        self._play = play
        self._rng = rng
        self._last: tuple[str, str] | None = None

    def draw(self) -> tuple[str, str] | None:
        """Thought and action of the next step; None if it is no mistake."""
        again = self._last is not None and self._rng.random() < REPEATED
        if not again:
            self._last = self._drawn() if self._rng.random() < self._chance else None
        return self._last

    def _drawn(self) -> tuple[str, str]:
        turn = self._rng.choice(self._play)
        numbers = sorted(set(_NUMBER.findall(turn.action)))
        if not numbers or self._rng.random() < 0.5:
            return turn.thought, turn.action
        old = self._rng.choice(numbers)
        new = str(self._rng.choice([n for n in range(1, int(old) + 4) if n != int(old)]))

        def swapped(text: str) -> str:
            return _NUMBER.sub(lambda found: new if found[0] == old else found[0], text)

        return swapped(turn.thought), swapped(turn.action)
