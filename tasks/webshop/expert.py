"""A handcoded expert. It knows what an agent has seen, not the goal behind the instruction."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mixroute import Observation, Turn
from tasks.webshop.actions import SEARCH_FORM, parse

_BOUND = re.compile(r", and price lower than (?P<dollars>[\d.]+) dollars$")
_RESULT = re.compile(r"(?P<asin>B[0-9A-Z]{9})(?:\n| \[SEP\] )(?P<title>[^\n]*?)(?:\n| \[SEP\] )\$(?P<price>[\d.]+)")
_BUTTON = re.compile(r"\[(?:clicked )?button\] | \[(?:clicked )?button_\]")
_BUY, _BACK = "click[buy now]", "click[back to search]"


class Expert:
    """Searches for what the instruction says, opens the first product within the price, chooses the options, buys.

    It takes over anybody's episode: from a page that it would not have come to it goes back to the search.
    """

    def act(self, turns: Sequence[Turn], observation: Observation) -> str:
        """See ``harness.contracts.Expert``."""
        instruction = _instruction((turns[0].observation if turns else observation).text)
        admissible = list(observation.admissible)  # of what can be listed: on its own it takes any search, anywhere
        if _BUY in admissible:
            chosen = {turn.action for turn in turns}
            wanted = [action for action in admissible if _is_named(instruction, action) and action not in chosen]
            return wanted[0] if wanted else _BUY
        if SEARCH_FORM in admissible:
            words = _BOUND.sub("", instruction)
            return f"search[{words.removeprefix('Find me ')}]"
        found = _affordable(instruction, observation.text)
        return f"click[{found}]" if found else _BACK


def _instruction(text: str) -> str:
    """The instruction on the first page, in either form of observation."""
    return re.split(r" \[SEP\] |\n", text)[2]


def _is_named(instruction: str, action: str) -> bool:
    """Whether an action chooses a value that the instruction names as ``name: value``."""
    found = parse(action)
    if found is None:
        return False
    value = re.escape(found[1])
    return re.search(rf": {value}(?:, and |$)", instruction) is not None


def _affordable(instruction: str, page: str) -> str | None:
    """The first product of a page of results within the price bound, else the first; None where there are none."""
    bound = _BOUND.search(instruction)
    results = list(_RESULT.finditer(_BUTTON.sub("", page)))
    for result in results:
        if bound is None or float(result["price"]) <= float(bound["dollars"]):
            return result["asin"]
    return results[0]["asin"] if results else None
