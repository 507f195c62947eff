"""What a task says of itself, so that every scaffold can show it; prompts and replies are then the scaffold's."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from harness.data import Observation, Prompt, Turn
from harness.errors import MixrouteError
from harness.scaffolds.rendering import Renderer, SolvedEpisode, TaskRules
from harness.scaffolds.schema import load_scaffold

APPEND_ONLY = "append_only"
"""Key of the protocol, false where a scaffold's prompts do not begin with those of the steps before, else absent."""


class ScaffoldedTask(ABC):
    """Base of tasks whose prompts and replies a scaffold declares: their methods ``prompt``, ``parse_action``
    and ``completion_text``, and the attributes ``stop`` and ``max_tokens``.

    Args:
        scaffold: Name of a shipped scaffold, or a ``.yaml`` file. Constructors call this argument ``prompt``.
        show_admissible: Whether admissible actions are listed although the scaffold does not list them.

    Raises:
        MixrouteError: no such scaffold, something wrong in its file, or examples that the task does not have.
    """

    action_tokens: ClassVar[int]
    """Most tokens of an action, where a scaffold does not say it."""

    def __init__(self, scaffold: str, *, show_admissible: bool) -> None:
        declared = load_scaffold(scaffold)
        self.scaffold = declared.for_task(self.action_tokens)
        self.stop: tuple[str, ...] = self.scaffold.stop
        self.max_tokens: int = self.scaffold.max_tokens
        self.show_admissible = show_admissible or declared.admissible.show
        examples = self.examples(declared.examples)
        if len(examples) < declared.examples:
            raise MixrouteError(
                f"scaffold '{declared.name}' shows {declared.examples} example episodes, and this task has "
                f"{len(examples)}: use another scaffold, such as compact"
            )
        self._renderer = Renderer(self.scaffold, self, examples)

    @property
    @abstractmethod
    def rules(self) -> TaskRules:
        """What is played, and how."""

    @abstractmethod
    def goal_of(self, first: Observation) -> str:
        """What an episode asks for, in the words of its first observation."""

    @abstractmethod
    def shown(self, observation: Observation, before: Observation | None, *, first: bool) -> str:
        """An observation's text as agents read it.

        Args:
            observation: The observation.
            before: The one before it, where the prompt shows that, too.
            first: Whether it is the episode's first.
        """

    def listed(self, observation: Observation) -> tuple[Sequence[str], str]:
        """The admissible actions that are listed, and a mark behind them if there are more."""
        return observation.admissible, ""

    def examples(self, count: int) -> Sequence[SolvedEpisode]:
        """The first ``count`` solved episodes that may be shown; fewer where the task has no more."""
        return ()

    def prompt(self, turns: Sequence[Turn], observation: Observation) -> Prompt:
        """The prompt for the step after ``turns``."""
        return self._renderer.render(turns, observation)

    def parse_action(self, text: str) -> str:
        """The action in a reply, as the scaffold reads it; empty where there is none. Nothing is repaired."""
        return self.scaffold.read(text).action

    def completion_text(self, action: str) -> str:
        """The text that a model writes to take ``action`` without a thought."""
        return self.scaffold.reply_text("", action)

    def prompt_protocol(self, *, list_field: str = "list", **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """The part of the protocol that is the scaffold's: its name, and ``prompt_hash``, the SHA-256 of all that
        prompts are made of and replies are read by, in hexadecimal.

        What a scaffold leaves at its default counts as nothing: the hashes of runs from before a key existed stay.

        Args:
            list_field: What the list of admissible actions is called where texts are hashed.
            **more: What the task itself adds.
        """
        parts = self._renderer.hashed(list_field) | {"show_admissible": self.show_admissible} | more
        return {
            "show_admissible": self.show_admissible,
            "prompt": self.scaffold.name,
            "prompt_hash": hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest(),
            "stop": list(self.stop),
            "max_tokens": self.max_tokens,
            **({} if self.scaffold.append_only else {APPEND_ONLY: False}),
        }
