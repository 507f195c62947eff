"""A task: guess a number between 1 and 100 that answers "higher" or "lower".

``examples/suite.yaml`` plays it: mixroute run examples/suite.yaml
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from mixroute import Instance, Message, Observation, Prompt, Turn

MOST = 100


class GuessNumber:
    """Guess a number in as few steps as possible; a game that is not won within ``step_cap`` steps is lost."""

    name = "guess-number"
    blocking = False
    stop = ("\n",)
    max_tokens = 8

    def __init__(self, split: str = "test", step_cap: int = 7) -> None:
        if split not in ("dev", "test"):
            raise ValueError(f"split '{split}': give dev or test")
        self.split = split
        self.step_cap = step_cap

    def instances(self) -> Sequence[Instance]:
        """Twenty numbers, drawn from the name of the split."""
        rng = Random(self.split)
        return [Instance(f"{self.split}/{index:02}", data=rng.randint(1, MOST)) for index in range(20)]

    def open(self, instance: Instance) -> "Game":
        """A new game."""
        return Game(instance.data)

    def prompt(self, turns: Sequence[Turn], observation: Observation) -> Prompt:
        """Everything that was shown and answered, one message each; it grows at its end only."""
        messages = []
        for turn in turns:
            messages += [Message("user", turn.observation.text), Message("assistant", turn.text)]
        return Prompt((*messages, Message("user", observation.text)), "chat")

    def parse_action(self, text: str) -> str:
        """The first line."""
        return text.strip().partition("\n")[0]

    def is_success(self, score: float) -> bool:
        """Whether the number was guessed."""
        return score > 0

    def protocol(self) -> Mapping[str, Any]:
        """What a score depends on."""
        return {"most": MOST, "step_cap": self.step_cap}


class Game:
    """One number."""

    def __init__(self, number: int) -> None:
        self._number = number

    def reset(self) -> Observation:
        """The rules."""
        return Observation(f"Guess my number between 1 and {MOST}. Answer with a number only.")

    def step(self, action: str) -> tuple[Observation, float, bool]:
        """Compare a guess with the number."""
        if not action.isdecimal():
            return Observation("That is no number."), 0.0, False
        guess = int(action)
        if guess == self._number:
            return Observation("Right."), 1.0, True
        return Observation("higher" if guess < self._number else "lower"), 0.0, False

    def close(self) -> None:
        """Nothing to free."""
