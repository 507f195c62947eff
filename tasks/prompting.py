"""Rendering that the prompts of all tasks share: observations and actions alternate, and prompts are append-only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mixroute import Message, Prompt, Turn


@dataclass(frozen=True, slots=True)
class Template:
    """Texts of one prompt format. Every turn is rendered independently, so each prompt extends the one before."""

    format: Literal["chat", "plain"]
    instruction: str
    admissible: str
    """Follows an observation where admissible actions are shown; has a field for their list."""
    after_observation: str
    after_completion: str
    """Suffix that completes the model's text in the next prompt: the stop string in plain text."""

    def render(self, instruction: str, turns: Sequence[Turn], shown: Sequence[str]) -> Prompt:
        """The prompt for the step after ``turns``.

        Args:
            instruction: The instruction, filled in.
            turns: What was played.
            shown: The observations as they are shown, those of ``turns`` and the present one.
        """
        chat = self.format == "chat"
        messages = [Message("system", instruction)] if chat else []
        opening = "" if chat else instruction
        for observation, turn in zip(shown, turns, strict=False):
            messages.append(Message("user", opening + observation + self.after_observation))
            messages.append(Message("assistant", turn.text + self.after_completion))
            opening = ""
        messages.append(Message("user", opening + shown[-1] + self.after_observation))
        return Prompt(tuple(messages), self.format)

    def answer(self, action: str) -> str:
        """The text that a model writes to take ``action``; in plain text it follows the ``>``."""
        return action if self.format == "chat" else f" {action}"


def parse_action(text: str) -> str:
    """The first line of ``text`` without surrounding whitespace and without a leading ``> ``; nothing is repaired."""
    return text.partition("\n")[0].strip().removeprefix("> ")
