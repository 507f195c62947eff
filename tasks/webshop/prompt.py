"""Prompts. Their texts are declared here and hashed, since the prompt changes the ranking of routers."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from mixroute import MixrouteError, Observation, Prompt, Turn
from tasks.prompting import Template


@dataclass(frozen=True, slots=True)
class _Template(Template):
    """Texts of one prompt. In ``admissible``, ``{actions}`` is the list."""

    cut: str = " ..."
    """Mark at the end of a page or list that was cut."""
    same: str = "The page is as it was."
    """Replacement for a page that equals the one before, as after choosing an option in the form ``text``."""


TEMPLATES = {
    # Page and action alternate. The page's turn ends with ">", so the model's text begins with a space and token
    # boundaries are the same in training and in play.
    "compact": _Template(
        format="plain",
        instruction="You shop for what is asked, one action a line: search[words], click[name].\n",
        admissible="\nAdmissible: {actions}",
        after_observation="\n>",
        after_completion="\n",
    ),
    "chat": _Template(
        format="chat",
        instruction=(
            "You shop on a website through a text interface: find the product that the instruction asks for, choose "
            "the options asked for, and buy it. Each of your replies is one action and nothing else:\n"
            "search[words]\nclick[name]\n"
            "where the name is that of a button, product number or option on the page, as in 'click[buy now]'. Buying "
            "ends the episode. An action that cannot be carried out leaves the page as it is."
        ),
        admissible="\nAdmissible actions: {actions}",
        after_observation="",
        after_completion="",
    ),
}

UNIT = r"\w+|[^\w\s]"
"""Unit of a page's length: words and single signs, not one model's tokens, so that all models see the same page."""

_UNIT = re.compile(UNIT)

# Every page but the last repeats the instruction of the first one, the group `told`. The prompt's hash covers these
# patterns, so the names of groups are fixed.
_REPEATED = (
    re.compile(r"WebShop \[SEP\] Instruction: \[SEP\] (?P<told>.*?) \[SEP\] (?P<rest>Search)", re.DOTALL),
    re.compile(r"Instruction: \[SEP\] (?P<told>.*?) \[SEP\] (?P<rest>.*)", re.DOTALL),
    re.compile(r"WebShop\nInstruction: \n(?P<told>[^\n]*)\n(?P<rest>.*)", re.DOTALL),
    re.compile(r"(?:You have clicked [^\n]*\.\n)*Instruction:\n(?P<told>[^\n]*)\n(?P<rest>.*)", re.DOTALL),
)


class Prompter:
    """Renders episodes into prompts.

    Args:
        name: ``compact`` or ``chat``.
        show_admissible: Whether each page is followed by the list of admissible actions.
        page_budget: Most words and signs of a page that are shown, and of a list of actions.

    Raises:
        MixrouteError: unknown name, or no budget.
    """

    def __init__(self, name: str, show_admissible: bool, page_budget: int) -> None:
        if name not in TEMPLATES:
            raise MixrouteError(f"unknown WebShop prompt '{name}': use one of {', '.join(TEMPLATES)}")
        if page_budget < 1:
            raise MixrouteError(f"page_budget = {page_budget}: a page needs at least one word")
        self._template = TEMPLATES[name]
        self._show_admissible = show_admissible
        self._budget = page_budget

    @property
    def hash(self) -> str:
        """SHA-256 of all texts and figures that the prompt is made of, in hexadecimal."""
        parts = asdict(self._template) | {
            "show_admissible": self._show_admissible,
            "page_budget": self._budget,
            "unit": UNIT,
            "repeated": [pattern.pattern for pattern in _REPEATED],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def render(self, turns: Sequence[Turn], observation: Observation) -> Prompt:
        """The prompt for the step after ``turns``."""
        seen = [*(turn.observation for turn in turns), observation]
        shown = [self._shown(now, before) for before, now in zip([None, *seen], seen, strict=False)]
        return self._template.render(self._template.instruction, turns, shown)

    def answer(self, action: str) -> str:
        """The text that a model writes to take ``action``."""
        return self._template.answer(action)

    def _shown(self, observation: Observation, before: Observation | None) -> str:
        if before is not None and observation.text == before.text:
            shown = self._template.same
        else:
            shown = self._cut(_without_known_parts(observation.text, before is None).replace(" [SEP] ", "\n").strip())
        if self._show_admissible:
            shown += self._template.admissible.format(actions=self._listed(observation.admissible))
        return shown

    def _cut(self, text: str) -> str:
        for number, unit in enumerate(_UNIT.finditer(text)):
            if number == self._budget:
                return text[: unit.start()].rstrip() + self._template.cut
        return text

    def _listed(self, actions: Sequence[str]) -> str:
        left = self._budget
        for number, action in enumerate(actions):
            left -= len(_UNIT.findall(action))
            if left < 0 and number:
                return ", ".join(actions[:number]) + self._template.cut
        return ", ".join(actions)


def _without_known_parts(text: str, first: bool) -> str:
    """The new part of a page: only the instruction on the first page, and the rest on all later ones."""
    for pattern in _REPEATED:
        found = pattern.fullmatch(text)
        if found:
            return found["told"] if first else found["rest"]
    return text
