"""What WebShop's agents are told: the rules, and pages as they are shown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mixroute import MixrouteError, Observation, TaskRules

RULES = TaskRules(
    brief="You shop for what is asked, one action a line: search[words], click[name].\n",
    setting=(
        "You shop on a website through a text interface: find the product that the instruction asks for, choose the "
        "options asked for, and buy it."
    ),
    rules=(
        ":\nsearch[words]\nclick[name]\n"
        "where the name is that of a button, product number or option on the page, as in 'click[buy now]'. Buying ends "
        "the episode. An action that cannot be carried out leaves the page as it is."
    ),
)

_CUT = " ..."
"""Mark at the end of a page or list that was cut."""
_SAME = "The page is as it was."
"""Replacement for a page that equals the one before, as after choosing an option in the form ``text``."""

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


class Pages:
    """Pages as they are shown.

    Args:
        budget: Most words and signs of a page, and of a list of actions.

    Raises:
        MixrouteError: no budget.
    """

    def __init__(self, budget: int) -> None:
        if budget < 1:
            raise MixrouteError(f"page_budget = {budget}: a page needs at least one word")
        self._budget = budget

    def hashed(self) -> dict[str, Any]:
        """JSON-ready record of all that decides how pages are shown."""
        return {
            "cut": _CUT,
            "same": _SAME,
            "page_budget": self._budget,
            "unit": UNIT,
            "repeated": [pattern.pattern for pattern in _REPEATED],
        }

    def shown(self, observation: Observation, before: Observation | None, *, first: bool) -> str:
        """A page without what the agent has seen; see ``ScaffoldedTask.shown``."""
        if before is not None and observation.text == before.text:
            return _SAME
        return self._cut(_without_known_parts(observation.text, first).replace(" [SEP] ", "\n").strip())

    def listed(self, actions: Sequence[str]) -> tuple[Sequence[str], str]:
        """The actions that are listed, and the mark of those that are not."""
        left = self._budget
        for number, action in enumerate(actions):
            left -= len(_UNIT.findall(action))
            if left < 0 and number:
                return actions[:number], _CUT
        return actions, ""

    def _cut(self, text: str) -> str:
        for number, unit in enumerate(_UNIT.finditer(text)):
            if number == self._budget:
                return text[: unit.start()].rstrip() + _CUT
        return text


def goal_of(first: Observation) -> str:
    """What the first page asks for."""
    return _without_known_parts(first.text, first=True).strip()


def _without_known_parts(text: str, first: bool) -> str:
    """The new part of a page: only the instruction on the first page, and the rest on all later ones."""
    for pattern in _REPEATED:
        found = pattern.fullmatch(text)
        if found:
            return found["told"] if first else found["rest"]
    return text
