"""A handcoded expert. It knows what an agent has seen, not the goal behind the instruction."""

from __future__ import annotations

from collections.abc import Sequence

from mixroute import Observation, Turn
from tasks.webshop.expert.reading import Kind, Known, Result, read
from tasks.webshop.expert.thoughts import explain


class Expert:
    """Searches for what the instruction says, opens the first product within the price, chooses the options, buys.

    It takes over anybody's episode: from a page that it would not have come to it goes back to the search.
    """

    def act(self, turns: Sequence[Turn], observation: Observation) -> str:
        """See ``harness.contracts.Expert``."""
        known = read(turns, observation)
        return _action(known, _affordable(known))

    def think(self, turns: Sequence[Turn], observation: Observation) -> str:
        """Why ``act`` takes its action; see ``harness.contracts.Thinker``."""
        known = read(turns, observation)
        return explain(known, _affordable(known))


def _action(known: Known, found: Result | None) -> str:
    match known.page.kind:
        case Kind.ITEM:
            return f"click[{known.wanted[0]}]" if known.wanted else "click[buy now]"
        case Kind.SEARCH:
            return f"search[{known.request.words.removeprefix('Find me ')}]"
        case _:
            return f"click[{found.asin}]" if found else "click[back to search]"


def _affordable(known: Known) -> Result | None:
    """The first product of a page of results within the price bound, else the first; None where there are none."""
    results = known.page.results if known.page.kind is Kind.RESULTS else []
    fitting = (one for one in results if not known.request.bound or float(one.price) <= float(known.request.bound))
    return next(fitting, results[0] if results else None)
