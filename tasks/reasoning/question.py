"""The environment of one-step tasks: a question is shown, the answer is graded, and the episode ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mixroute import Observation


@dataclass(frozen=True, slots=True)
class Verdict:
    """A graded answer. ``text`` describes the grade; it becomes the final observation, which no model reads."""

    score: float
    text: str


class Question:
    """An environment of one step.

    Args:
        text: The question, as it is shown.
        grade: Grades an answer; may raise, which ends the episode with an error.
    """

    def __init__(self, text: str, grade: Callable[[str], Verdict]) -> None:
        self._text, self._grade, self._over = text, grade, False

    def reset(self) -> Observation:
        """Show the question again."""
        self._over = False
        return Observation(self._text)

    def step(self, action: str) -> tuple[Observation, float, bool]:
        """Grade the answer; the reward is its score, and the episode is over."""
        if self._over:
            raise RuntimeError("the question was answered: reset it before another step")
        self._over = True
        verdict = self._grade(action)
        return Observation(verdict.text), verdict.score, True

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
