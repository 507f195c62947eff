"""Thoughts of the expert: why it takes an action, in one to three short sentences.

A thought repeats what a small model forgets: which options are asked for, chosen and still to choose, and the price
limit. It names the product or the option of the action as the action does, and says first what is wrong if the action
before was a mistake.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tasks import wording
from tasks.webshop.actions import parse
from tasks.webshop.expert.reading import Kind, Known, Result

_LONG = 40
"""Most characters of a list of options with their values; of a longer one only the names are listed."""
_DIGIT = 3
"""Characters that a digit counts as: many tokenizers make it a token."""


def explain(known: Known, found: Result | None) -> str:
    """The thought that precedes an action.

    Args:
        known: What an agent has seen.
        found: The product that is opened next, on a page of results that has any.
    """
    match known.page.kind:
        case Kind.ITEM:
            words = _choose(known) if known.wanted else _buy(known)
        case Kind.SEARCH:
            words = _search(known)
        case _:
            words = _open(known, found) if found else _back(known)
    return wording.thought([_mistake(known), *words])


def _mistake(known: Known) -> str:
    if not known.in_vain:
        return ""
    return "That click named nothing on the page." if parse(known.last) else "That was no valid action."


def _search(known: Known) -> Iterator[str]:
    asked = known.request.asked
    limit = f"the price limit of {known.request.bound} dollars" if known.request.bound else ""
    again = " again" if known.before and known.before.kind is not Kind.SEARCH else ""
    what = f"with {_options(known, list(asked))}" if asked else "in its own words"
    yield f"I search{again} for all that is asked, {what}{f', but without {limit}' if limit else ''}."


def _open(known: Known, found: Result) -> Iterator[str]:
    results, bound = known.page.results, known.request.bound
    number = results.index(found) + 1
    costs = f"{'from ' if found.ranged else ''}{found.price} dollars"
    if not bound:
        yield "No price limit is given."
        yield f"I open the first result, {found.asin}, which costs {costs}."
    elif float(found.price) > float(bound):
        yield f"All {len(results)} results here cost more than {bound} dollars, so I open the first, {found.asin}."
    elif number == 1:
        yield f"Result 1 costs {costs}, within the limit of {bound}."
        yield f"I open {found.asin}."
    else:
        some = "Result 1 costs" if number == 2 else f"Results 1 to {number - 1} cost"
        yield f"{some} more than the limit of {bound}."
        yield f"Result {number} costs {costs}, so I open {found.asin}."


def _back(known: Known) -> Iterator[str]:
    if known.page.kind is Kind.RESULTS:
        yield "This search has no results here."
        yield "I go back to the search page to search for all that is asked."
    else:
        yield "This page has no options and nothing to buy."
        yield "I go back to the search page to find the product again."


def _choose(known: Known) -> Iterator[str]:
    value, *later = known.wanted
    wrong = known.instead.get(value)
    if wrong:
        other = wrong if len(wrong) <= _LONG // 2 else "another value"
        yield f"{other} is chosen, but {_options(known, [value])} is asked for."
    elif known.chosen:
        yield f"{_options(known, known.chosen)} {_is(known.chosen)} chosen."
    else:
        yield f"{_options(known, known.wanted)} {_is(known.wanted)} asked for and not chosen yet."
    rest = f", then {_options(known, later)}" if later else ", then all that is on offer is chosen"
    yield f"I choose {_option(known, value)}{rest}."


def _buy(known: Known) -> Iterator[str]:
    missing = [value for value in known.request.asked if value not in known.page.options]
    if known.chosen:
        yield f"{_options(known, known.chosen)} {_is(known.chosen)} chosen."
    if missing:
        yield f"{_options(known, missing)} {_is(missing)} not on offer here."
        yield "Nothing else is to choose, so I buy now."
    elif known.chosen:
        yield "All options that are asked for are chosen, so I buy now."
    else:
        yield "The request names no option that could be chosen on this page, so I buy the product now."


def _is(values: Sequence[str]) -> str:
    return "is" if len(values) == 1 else "are"


def _option(known: Known, value: str) -> str:
    name = known.request.asked.get(value)
    return f"{name} {value}" if name else value


def _options(known: Known, values: Sequence[str]) -> str:
    full = wording.listed([_option(known, value) for value in values])
    if len(full) + (_DIGIT - 1) * sum(map(str.isdecimal, full)) <= _LONG:
        return full
    return wording.listed([known.request.asked.get(value, value) for value in values])
