"""Knowledge that an agent may have of an episode from its pages and its actions so far."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from mixroute import Observation, Turn
from tasks.webshop import pages
from tasks.webshop.actions import parse

_BOUND = re.compile(r", and price lower than (?P<dollars>[\d.]+) dollars$")
_RESULT = re.compile(
    r"(?P<asin>B[0-9A-Z]{9})(?:\n| \[SEP\] )(?P<title>[^\n]*?)(?:\n| \[SEP\] )\$(?P<price>[\d.]+)(?P<range> to \$)?"
)
_BUTTON = re.compile(r"\[(?:clicked )?button\] | \[(?:clicked )?button_\]")
_BORDER = re.compile(r" \[SEP\] |\n")
_NUMBER = re.compile(r"Page -?\d+ \(Total results: \d+\)")
_LONGEST_NAME = 30
"""Characters of an option's name."""


class Kind(Enum):
    """Kind of a page."""

    SEARCH = "search"
    RESULTS = "results"
    ITEM = "item"
    TAB = "tab"


@dataclass(frozen=True, slots=True)
class Result:
    """A product on a page of results.

    Attributes:
        asin: Number of the product.
        price: Dollars, in the page's digits; of a range the lower end.
        ranged: Whether the price is a range.
    """

    asin: str
    price: str
    ranged: bool


@dataclass(frozen=True, slots=True)
class Page:
    """A page in either form of observation, in pieces without marks."""

    text: str
    pieces: tuple[str, ...]

    @property
    def kind(self) -> Kind:
        """Kind of the page."""
        if self.pieces[-1] == pages.BUY and 0 < self._find(pages.PREVIOUS) < self._find("Price: $"):
            return Kind.ITEM
        if any(_NUMBER.fullmatch(piece) for piece in self.pieces[:4]):
            return Kind.RESULTS
        return Kind.SEARCH if self.pieces[-1] == "Search" else Kind.TAB

    def _find(self, beginning: str) -> int:
        """Position of the first piece that begins so; 0 if none does."""
        return next((number for number, piece in enumerate(self.pieces) if piece.startswith(beginning)), 0)

    @property
    def results(self) -> list[Result]:
        """The products of a page of results, in order."""
        return [Result(one["asin"], one["price"], bool(one["range"])) for one in _RESULT.finditer(self.text)]

    @property
    def options(self) -> tuple[str, ...]:
        """Names of options and their values on a product's page, in order; what follows them is its title."""
        return self.pieces[self._find(pages.PREVIOUS) + 1 : self._find("Price: $") - 1]


def read_page(observation: Observation) -> Page:
    """A page, read from its text alone."""
    text = _BUTTON.sub("", observation.text)
    pieces = (piece.strip() for piece in _BORDER.split(text))
    return Page(text, tuple(piece for piece in pieces if piece))


@dataclass(frozen=True, slots=True)
class Request:
    """What an instruction asks for.

    Attributes:
        words: The instruction without its price bound.
        bound: The price bound in dollars, in the instruction's digits; empty if it names none.
        asked: Names of the options that are asked for as ``name: value``, by value.
    """

    words: str
    bound: str
    asked: dict[str, str]

    def names(self, value: str) -> bool:
        """Whether an option's value is asked for as ``name: value``."""
        return re.search(rf": {re.escape(value)}(?:, and |$)", self.words) is not None


def read_request(instruction: str) -> Request:
    """The parts of an instruction."""
    bound = _BOUND.search(instruction)
    words = _BOUND.sub("", instruction)
    asked = {}
    for part in words.split(", and "):
        name, colon, value = part.partition(": ")
        name = name.rpartition(" with ")[2]
        if colon and len(name) <= _LONGEST_NAME:  # people write other sentences with colons
            asked[value] = name
    return Request(words, bound["dollars"] if bound else "", asked)


@dataclass(frozen=True, slots=True)
class Known:
    """The state of an episode as far as an agent has seen it.

    Attributes:
        request: What is asked for.
        page: The page that is shown.
        before: The page before; none at the start.
        last: The action before; empty at the start.
        chosen: Values that are asked for and chosen of the product that is shown, in the order of the clicks.
        instead: By value that is asked for: the value that was chosen in its stead.
    """

    request: Request
    page: Page
    before: Page | None
    last: str
    chosen: tuple[str, ...]
    instead: dict[str, str]

    @property
    def wanted(self) -> list[str]:
        """Values that are asked for, on offer and not chosen, in the order in which they are to be chosen."""
        asked = {value for value in self.page.options if self.request.names(value) and value not in self.chosen}
        return sorted(asked, key="click[{}]".format)

    @property
    def in_vain(self) -> bool:
        """Whether the action before was no action of the page that it was given on."""
        if self.before is None:
            return False
        found = parse(self.last)
        return found is None or (
            found[0] == "click" and found[1] not in {piece.lower() for piece in self.before.pieces}
        )


def read(turns: Sequence[Turn], observation: Observation) -> Known:
    """Knowledge after ``turns`` and ``observation``."""
    request = read_request(read_page(turns[0].observation if turns else observation).pieces[2])
    page = read_page(observation)
    chosen, instead = _choices(turns, page, request) if page.kind is Kind.ITEM else ((), {})
    before = read_page(turns[-1].observation) if turns else None
    return Known(request, page, before, turns[-1].action if turns else "", chosen, instead)


def _choices(turns: Sequence[Turn], page: Page, request: Request) -> tuple[tuple[str, ...], dict[str, str]]:
    """The values that are chosen since the product was opened, and those chosen in place of what is asked for."""
    group: dict[str, int] = {}
    names = set(request.asked.values())
    number = 0
    for piece in page.options:
        number += piece in names
        group[piece] = number
    chosen: list[str] = []
    other: dict[int, str] = {}
    for value in _clicked(turns, group):
        # A page in text does not tell names from values: only a value that nobody asked for replaces others.
        if request.names(value):
            chosen = [*(one for one in chosen if one != value), value]
        else:
            other[group[value]] = value
            chosen = [one for one in chosen if group[one] != group[value]]
    return tuple(chosen), {one: other[n] for one, n in group.items() if n in other and request.names(one)}


def _clicked(turns: Sequence[Turn], values: dict[str, int]) -> list[str]:
    """The values that were clicked on since the product was opened, in order."""
    clicks = []
    for turn in reversed(turns):
        kind = read_page(turn.observation).kind
        if kind in (Kind.SEARCH, Kind.RESULTS):
            break
        found = parse(turn.action)
        if kind is Kind.ITEM and found and found[0] == "click" and found[1] in values:
            clicks.append(found[1])
    return clicks[::-1]
