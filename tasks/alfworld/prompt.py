"""Prompts. Their texts are declared here and hashed, since the prompt changes the ranking of routers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from mixroute import MixrouteError, Observation, Prompt, Turn
from tasks.alfworld.dialect import Dialect, translate
from tasks.alfworld.game import Game
from tasks.alfworld.generate import GeneratedGame
from tasks.alfworld.texts import BANNER
from tasks.prompting import Template


@dataclass(frozen=True, slots=True)
class _Template(Template):
    """Texts of one prompt; ``{put}`` stands for the dialect's put command, ``{commands}`` for the list of commands."""

    examples: tuple[int, ...] = ()
    """Generated train games whose walkthroughs are shown after the instruction."""


_COMPACT = _Template(
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
    "chat": _Template(
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
        shown = [self._shown(one) for one in (*(turn.observation for turn in turns), observation)]
        return self._template.render(self._instruction, turns, shown)

    def answer(self, action: str) -> str:
        """The text that a model writes to take ``action``."""
        return self._template.answer(action)

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
        return text


def _plain(observation: str) -> str:
    """An observation without the banner and without empty lines."""
    return observation.removeprefix(BANNER).strip().replace("\n\n", "\n")
