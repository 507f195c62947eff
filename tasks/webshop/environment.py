"""One episode in the shop, without a server, a browser or HTML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mixroute import MixrouteError, Observation
from tasks.webshop import pages
from tasks.webshop.actions import Admissible, parse
from tasks.webshop.catalogue import RESULTS, Catalogue
from tasks.webshop.goal import Goal, as_goal, drawn_price
from tasks.webshop.pages import Click
from tasks.webshop.product import Product
from tasks.webshop.reward import Score, reward

Form = Literal["text", "text_rich"]

FORMS = ("text", "text_rich")


@dataclass(slots=True)
class _Place:
    """State of an episode: the present page and the choices so far."""

    keywords: str = ""
    results: list[str] = field(default_factory=list)
    number: int = 1
    """Number of the page of results."""
    asin: str = ""
    """ASIN of the product that is shown; empty before one is opened."""
    chosen: dict[str, str] = field(default_factory=dict)
    visited: set[str] = field(default_factory=set)
    tab: str = ""


class WebShopEnvironment:
    """One goal, played until something is bought.

    Args:
        catalogue: The products; shared between environments.
        goal: What is asked for; a mapping has the keys of ``Goal``.
        price: What a purchase costs in dollars, whatever is bought, or by ASIN. Default: the product's own price, drawn
            by ``price_seed`` where the data has a range.
        observation: ``text``, or ``text_rich`` with marked buttons.
        price_seed: The seed that the goals were drawn with.
        strict_options: See ``reward``.

    Raises:
        MixrouteError: unknown form of observation, or an unusable goal.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        goal: Goal | Mapping[str, Any],
        price: float | Mapping[str, float] | None = None,
        observation: Form = "text",
        *,
        price_seed: int = 0,
        strict_options: bool = False,
    ) -> None:
        if observation not in FORMS:
            raise MixrouteError(f"unknown WebShop observation '{observation}': use one of {', '.join(FORMS)}")
        self._catalogue, self._goal, self._price = catalogue, as_goal(goal), price
        self._form, self._price_seed, self._strict = observation, price_seed, strict_options
        self._at = _Place()
        self._page = pages.search_page(self._goal.instruction_text)
        self.score: Score | None = None
        """Reward of the purchase; None before there is one."""

    def reset(self) -> Observation:
        """Start over, on the search page."""
        self.score = None
        self._start()
        return self._observation()

    def step(self, action: str) -> tuple[Observation, float, bool]:
        """Take one action. A purchase ends the episode and gives its reward, 0 to 1; all else gives 0.

        What is no action here, and the original's back doors, leave the page as it is.
        """
        if self.score is not None:
            raise RuntimeError("something was bought: reset the environment before another step")
        match parse(action):
            case "search", argument:
                self._search(argument)
            case "click", argument if argument in self._page.clicks:
                self._click(argument, self._page.clicks[argument])
        score = 0.0 if self.score is None else self.score.reward
        return self._observation(), score, self.score is not None

    def close(self) -> None:
        """Do nothing: the catalogue is shared."""

    def _observation(self) -> Observation:
        text = self._page.text() if self._form == "text" else self._page.text_rich()
        return Observation(text, Admissible(self._page.clicks, self._page.search_bar))

    def _start(self) -> None:
        self._at = _Place()
        self._page = pages.search_page(self._goal.instruction_text)

    def _search(self, keywords: str) -> None:
        self._at.keywords, self._at.results = keywords, self._catalogue.search(keywords, RESULTS)
        self._show_results(1)

    def _click(self, name: str, click: Click) -> None:
        # The original decides by the name before it looks at what was clicked, so these go before options of that name.
        if name == pages.BUY.lower():
            self._buy()
        elif name == pages.BACK.lower():
            self._start()
        elif name == pages.NEXT.lower() and not self._at.asin:
            self._show_results(self._at.number + 1)
        elif name == pages.PREVIOUS.lower():
            self._previous()
        elif name.title() in pages.TABS:
            self._at.tab = name.title()
            self._page = pages.tab_page(self._goal.instruction_text, self._product(), self._at.tab)
        else:
            self._choose(name, click)
            self._show_item()

    def _choose(self, name: str, click: Click) -> None:
        if click.kind == "product":
            self._at.asin = name.upper()
            self._at.visited.add(self._at.asin)
        elif click.kind == "option":
            self._at.chosen[click.name] = name

    def _previous(self) -> None:
        if self._at.tab:
            self._show_item()
        elif self._at.asin:
            self._show_results(self._at.number)
        else:
            self._show_results(self._at.number - 1)

    def _show_results(self, number: int) -> None:
        at = self._at
        at.number, at.asin, at.tab, at.chosen = number, "", "", {}
        start = (number - 1) * pages.PER_PAGE
        found = [self._catalogue.product(asin) for asin in at.results[start : start + pages.PER_PAGE]]
        self._page = pages.results_page(self._goal.instruction_text, found, len(at.results), number, at.visited)

    def _show_item(self) -> None:
        self._at.tab = ""
        address = f"{self._at.asin}/{self._at.keywords.replace(' ', '+')}/{self._at.number}"
        self._page = pages.item_page(self._goal.instruction_text, self._product(), self._at.chosen, address)

    def _buy(self) -> None:
        product = self._product()
        price = self._price
        if isinstance(price, Mapping):
            price = price.get(product.asin)
        if price is None:
            price = drawn_price(product, self._price_seed)
        self.score = reward(self._goal, product, self._at.chosen, price, strict_options=self._strict)
        self._page = pages.done_page(product.asin, self._at.chosen, self.score.reward)

    def _product(self) -> Product:
        return self._catalogue.product(self._at.asin)
