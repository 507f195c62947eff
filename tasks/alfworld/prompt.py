"""What a model reads. The texts are declared here and hashed, since the prompt changes the ranking of routers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from harness.data import Message, Observation, Prompt, Turn
from harness.errors import MixrouteError
from tasks.alfworld.dialect import Dialect, translate
from tasks.alfworld.game import Game
from tasks.alfworld.generate import GeneratedGame
from tasks.alfworld.texts import BANNER


@dataclass(frozen=True, slots=True)
class Template:
    """The texts of one prompt format. Every turn is rendered alone, so each prompt extends the one before."""

    format: Literal["chat", "plain"]
    instruction: str
    """``{put}`` is the dialect's put command."""
    admissible: str
    """Follows an observation where admissible commands are shown; ``{commands}`` is their list."""
    after_observation: str
    after_completion: str
    """Completes what the model wrote to what the next turn's prompt holds: the stop string in plain text."""
    examples: tuple[int, ...] = ()
    """Generated train games whose walkthroughs are shown after the instruction."""


_COMPACT = Template(
    format="plain",
    instruction=(
        "You act in a house, one command a line: look, inventory, go to R, open R, close R, examine X, use O, "
        "take O from R, {put}, clean O with R, heat O with R, cool O with R, slice O with O.\n"
    ),
    admissible="\nAdmissible: {commands}",
    after_observation="\n>",
    after_completion="\n",
)

TEMPLATES = {
    # Observation and command alternate as in a text adventure. The observation's turn ends with ">", so the model's
    # text begins with a space and token boundaries are the same in training and in play.
    "compact": _COMPACT,
    # For models that were never trained on the task: without an example they answer with an empty line.
    "few-shot": replace(_COMPACT, examples=(2,)),
    "chat": Template(
        format="chat",
        instruction=(
            "You act in a house through a text interface to reach the goal you are given. Each of your replies is one "
            "command and nothing else. Commands, where R is a receptacle and O an object, each with its number, as in "
            "'go to shelf 2':\nlook\ninventory\ngo to R\nopen R\nclose R\nexamine R\nexamine O\nuse O\ntake O from R\n"
            "{put}\nclean O with R\nheat O with R\ncool O with R\nslice O with O\n"
            "You carry one object at most. Receptacles may be closed: open them to see what is in them. "
            "A command that cannot be carried out is answered 'Nothing happens.'."
        ),
        admissible="\nAdmissible commands: {commands}",
        after_observation="",
        after_completion="",
    ),
}


class Prompter:
    """Renders episodes into prompts.

    Args:
        name: ``compact``, ``few-shot`` (the same after one example episode) or ``chat``.
        dialect: Wording of the commands.
        show_admissible: Whether each observation is followed by the list of admissible commands.

    Raises:
        MixrouteError: unknown name.
    """

    def __init__(self, name: str, dialect: Dialect, show_admissible: bool) -> None:
        if name not in TEMPLATES:
            raise MixrouteError(f"unknown ALFWorld prompt '{name}': use one of {', '.join(TEMPLATES)}")
        self._template = TEMPLATES[name]
        self._show_admissible = show_admissible
        instruction = self._template.instruction.format(put=dialect.put_command.format(o="O", r="R"))
        self._instruction = instruction + "".join(self._example(n, dialect) for n in self._template.examples)

    @property
    def hash(self) -> str:
        """SHA-256 of all texts that the prompt is made of, in hexadecimal."""
        texts = asdict(self._template) | {"instruction": self._instruction, "show_admissible": self._show_admissible}
        return hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()

    def render(self, turns: Sequence[Turn], observation: Observation) -> Prompt:
        """The prompt for the step after ``turns``."""
        template = self._template
        messages = [Message("system", self._instruction)] if template.format == "chat" else []
        opening = "" if template.format == "chat" else self._instruction
        for turn in turns:
            messages.append(Message("user", opening + self._shown(turn.observation)))
            messages.append(Message("assistant", turn.text + template.after_completion))
            opening = ""
        messages.append(Message("user", opening + self._shown(observation)))
        return Prompt(tuple(messages), template.format)

    def answer(self, action: str) -> str:
        """What a model writes to take ``action``; in plain text it goes on after the ``>``."""
        return action if self._template.format == "chat" else f" {action}"

    def _example(self, number: int, dialect: Dialect) -> str:
        """A generated train game won by its walkthrough, as text; lists of admissible commands are left out."""
        data = GeneratedGame("train", number).load()
        game = Game(data.problem, data.task, dialect.name)
        text = _plain(game.reset())
        for command in data.walkthrough:
            words = translate(command, dialect.name)
            text += f"\n> {words}\n{_plain(game.step(words))}"
        return text + "\n\n"

    def _shown(self, observation: Observation) -> str:
        text = _plain(observation.text)
        if self._show_admissible:
            text += self._template.admissible.format(commands=", ".join(observation.admissible))
        return text + self._template.after_observation


def _plain(observation: str) -> str:
    """An observation without the banner and without empty lines."""
    return observation.removeprefix(BANNER).strip().replace("\n\n", "\n")


def parse_action(text: str) -> str:
    """The first line of ``text`` without surrounding whitespace and without a leading ``> ``; nothing is repaired."""
    return text.partition("\n")[0].strip().removeprefix("> ")
