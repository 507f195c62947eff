"""Rendering of episodes into prompts: one code for all scaffolds and tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from harness.data import Message, Observation, Prompt, Turn
from harness.scaffolds.fields import fields_of, fill
from harness.scaffolds.schema import Scaffold


@dataclass(frozen=True, slots=True)
class TaskRules:
    """What a task says of itself in instructions; the names are those of the fields."""

    brief: str
    """Everything in a line, its break included, for agents that were trained on the task."""
    setting: str
    """Where the agent acts, and what for: whole sentences."""
    rules: str
    """The actions and what they do. It goes on from a sentence such as 'Write one action and nothing else', and begins
    with the sign after it: a full stop, or a colon."""
    noun: str = "action"
    """What an action is called."""


@dataclass(frozen=True, slots=True)
class SolvedEpisode:
    """A solved episode."""

    turns: Sequence[Turn]
    """Texts of replies do not count: each scaffold writes its own."""
    final: Observation


class Describes(Protocol):
    """What rendering asks a task."""

    show_admissible: bool

    @property
    def rules(self) -> TaskRules:
        """See ``ScaffoldedTask``."""
        ...

    def goal_of(self, first: Observation) -> str:
        """See ``ScaffoldedTask``."""
        ...

    def shown(self, observation: Observation, before: Observation | None, *, first: bool) -> str:
        """See ``ScaffoldedTask``."""
        ...

    def listed(self, observation: Observation) -> tuple[Sequence[str], str]:
        """See ``ScaffoldedTask``."""
        ...


class Renderer:
    """Renders episodes of a task by a scaffold.

    Args:
        scaffold: The scaffold.
        task: The task.
        examples: Solved episodes for the instruction.
    """

    def __init__(self, scaffold: Scaffold, task: Describes, examples: Sequence[SolvedEpisode]) -> None:
        self._scaffold = scaffold
        self._task = task
        self._of_task = asdict(task.rules)
        shown = "".join(map(self._example, examples))
        # The goal is filled in for each episode.
        self._instruction = fill(scaffold.instruction, self._of_task | {"examples": shown})
        texts = (scaffold.instruction, scaffold.message, scaffold.first_message, scaffold.history.left_out)
        self._wants_goal = any("goal" in fields_of(text) for text in texts)

    def render(self, turns: Sequence[Turn], observation: Observation) -> Prompt:
        """The prompt for the step after ``turns``."""
        scaffold = self._scaffold
        kept = scaffold.history.last
        first = 0 if kept is None else max(0, len(turns) - kept)
        counts = {"played": len(turns), "shown": len(turns) - first, "left": first}
        values = self._of_task | {name: str(count) for name, count in counts.items()}
        if self._wants_goal:
            values["goal"] = self._task.goal_of(turns[0].observation if turns else observation)
        instruction = fill(self._instruction, values)
        left_out = fill(scaffold.history.left_out, values) if first else ""
        if scaffold.history.line:
            values |= {"history": self._listing(turns, first), "left_out": left_out}
            messages = [Message("user", self._message(observation, None, len(turns), values))]
        else:
            messages = self._conversation(turns, observation, first, values)
            messages[0] = Message("user", left_out + messages[0].content)
        if scaffold.format == "chat" and instruction:
            messages.insert(0, Message("system", instruction))
        else:
            messages[0] = Message("user", instruction + messages[0].content)
        return Prompt(tuple(messages), scaffold.format, scaffold.template_arguments, scaffold.append_only)

    def hashed(self, list_field: str) -> dict[str, Any]:
        """JSON-ready record of the texts, and of what the scaffold declares otherwise than by default.

        Args:
            list_field: What the list of admissible actions is called in the record.
        """
        scaffold = self._scaffold
        observed = "{observation}{admissible}"
        after = scaffold.message.removeprefix(observed)
        simple = scaffold.message.startswith(observed) and not fields_of(after)
        recorded = {"format", "instruction", "examples", "after_reply", "stop"} | ({"message"} if simple else set())
        declared = {key: value for key, value in scaffold.content().items() if key not in recorded}
        for key, names in (
            ("admissible", {"text", "show"}),
            ("limits", {"action_tokens"}),
        ):
            rest = {name: value for name, value in declared.pop(key, {}).items() if name not in names}
            declared |= {key: rest} if rest else {}
        return {
            "format": scaffold.format,
            "instruction": self._instruction,
            "admissible": fill(scaffold.admissible.text, self._of_task | {"list": f"{{{list_field}}}"}),
            "after_observation": after if simple else "",
            "after_completion": scaffold.after_reply,
            **({"scaffold": declared} if declared else {}),
        }

    def _conversation(
        self, turns: Sequence[Turn], observation: Observation, first: int, values: Mapping[str, str]
    ) -> list[Message]:
        """Observations and replies as messages of their own, from turn ``first`` on."""
        messages: list[Message] = []
        before: Observation | None = None
        for place, turn in enumerate(turns[first:], first):
            messages.append(Message("user", self._message(turn.observation, before, place, values)))
            messages.append(Message("assistant", self._remembered(turn, place, len(turns))))
            before = turn.observation
        return [*messages, Message("user", self._message(observation, before, len(turns), values))]

    def _listing(self, turns: Sequence[Turn], first: int) -> str:
        """Turns as text, from turn ``first`` on."""
        history = self._scaffold.history
        lines = []
        before: Observation | None = None
        for place, turn in enumerate(turns[first:], first):
            values = {
                "number": str(place + 1),
                "observation": self._task.shown(turn.observation, before, first=place == 0),
                "admissible": self._listed(turn.observation),
                "reply": self._remembered(turn, place, len(turns)),
                "thought": turn.thought if self._keeps(place, len(turns)) else "",
                "action": turn.action,
            }
            lines.append(fill(history.line, values))
            before = turn.observation
        return history.between.join(lines)

    def _message(
        self, observation: Observation, before: Observation | None, place: int, values: Mapping[str, str]
    ) -> str:
        scaffold = self._scaffold
        template = scaffold.first_message if place == 0 and scaffold.first_message else scaffold.message
        own = {
            "observation": self._task.shown(observation, before, first=place == 0),
            "admissible": self._listed(observation),
            "number": str(place + 1),
        }
        return fill(template, {**values, **own})

    def _listed(self, observation: Observation) -> str:
        if not self._task.show_admissible:
            return ""
        declared = self._scaffold.admissible
        actions, more = self._task.listed(observation)
        items = declared.between.join(fill(declared.item, {"item": action}) for action in actions)
        return fill(declared.text, self._of_task | {"list": items + more})

    def _remembered(self, turn: Turn, place: int, now: int) -> str:
        return self._scaffold.remembered(turn.text, thought=self._keeps(place, now))

    def _keeps(self, place: int, now: int) -> bool:
        """Whether the thought of a turn is still shown ``now`` turns are played."""
        thoughts = self._scaffold.history.thoughts
        return thoughts == "keep" or (thoughts == "last" and place == now - 1)

    def _example(self, example: SolvedEpisode) -> str:
        """A solved episode as text, without lists of admissible actions."""
        scaffold = self._scaffold
        text, before = "", None
        for place, turn in enumerate(example.turns):
            text += self._shown_alone(turn.observation, before, place)
            text += scaffold.reply_text(turn.thought, turn.action) + (scaffold.after_reply or "\n")
            before = turn.observation
        shown = self._task.shown(example.final, before, first=False)
        return f"{text}{shown}\n\n"

    def _shown_alone(self, observation: Observation, before: Observation | None, place: int) -> str:
        shown = self._task.shown(observation, before, first=place == 0)
        if self._scaffold.history.line:
            return f"{shown}\n"
        own = {"observation": shown, "admissible": "", "number": str(place + 1)}
        text = fill(self._scaffold.message, self._of_task | own)
        return text if text.endswith(("\n", ">", " ")) else f"{text}\n"
