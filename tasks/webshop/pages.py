"""The shop's pages: their texts, what can be clicked, and their two forms as observations."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from tasks.webshop.product import Product

PER_PAGE = 10
"""Results on one page."""

BUY, BACK, NEXT, PREVIOUS = "Buy Now", "Back to Search", "Next >", "< Prev"
TABS = ("Description", "Features", "Reviews")


class Look(Enum):
    """Mark of a piece of a page in ``text_rich``."""

    PLAIN = "{}"
    BUTTON = "[button] {} [button_]"
    CHOICE = "  [button] {} [button_]"
    CHOSEN = "  [clicked button] {} [clicked button_]"
    LINK = "\n[button] {} [button_]"
    VISITED = "\n[clicked button] {} [clicked button_]"


@dataclass(frozen=True, slots=True)
class Click:
    """Target of a click: ``button`` is pressed, ``product`` is opened, ``option`` chooses the value of ``name``."""

    kind: str
    name: str = ""


@dataclass(slots=True)
class Page:
    """A page under construction."""

    search_bar: bool = False
    pieces: list[tuple[Look, str]] = field(default_factory=list)
    clicks: dict[str, Click] = field(default_factory=dict)
    """Targets by lower-case name; of two with one name the later counts."""

    def show(self, *texts: str) -> None:
        """Add plain texts. As a browser has it, an empty one is nothing and a blank one is a space or a line break."""
        for text in texts:
            if text.strip(" \t\n\r\f"):
                self.pieces.append((Look.PLAIN, text))
            elif text and "\n" not in text:
                self.pieces.append((Look.PLAIN, " "))

    def button(self, *labels: str) -> None:
        """Add buttons."""
        for label in labels:
            self.pieces.append((Look.BUTTON, label))
            self.clicks[label.lower()] = Click("button")

    def text(self) -> str:
        """The pieces, stripped, with ``[SEP]`` between them."""
        return " [SEP] ".join(text.strip() for _, text in self.pieces)

    def text_rich(self) -> str:
        """One line for each chosen option, then one for each piece, with buttons marked."""
        chosen = [f"You have clicked {text}.\n" for look, text in reversed(self.pieces) if look is Look.CHOSEN]
        return "".join(chosen) + "".join(f"{look.value.format(text)}\n" for look, text in self.pieces)


def search_page(instruction: str) -> Page:
    """The search page, where an episode begins."""
    page = Page(search_bar=True)
    page.show("WebShop", "Instruction: ", instruction)
    page.button("Search")
    # Only a search can be done here; the original ignores a click on the button.
    page.clicks.clear()
    return page


def results_page(instruction: str, found: Sequence[Product], total: int, number: int, visited: Collection[str]) -> Page:
    """A page of search results.

    Args:
        instruction: The instruction that the agent reads.
        found: The products on this page.
        total: How many were found in all.
        number: Number of the page, from 1.
        visited: ASINs of the products that were opened since the last search page.
    """
    page = _top(instruction)
    page.button(BACK)
    page.show(f"Page {number} (Total results: {total})")
    page.button(*([PREVIOUS] if number > 1 else []), NEXT)
    for product in found:
        page.pieces.append((Look.VISITED if product.asin in visited else Look.LINK, product.asin))
        page.clicks[product.asin.lower()] = Click("product")
        page.show(product.name, product.price_tag)
    return page


def item_page(instruction: str, product: Product, chosen: Mapping[str, str], address: str) -> Page:
    """A product's page.

    Args:
        instruction: The instruction that the agent reads.
        product: The product.
        chosen: Option values by name.
        address: Path of the page; the original marks every value that stands in it in quotes.
    """
    address = f"{address}/{json.dumps(dict(chosen))}"
    page = _top(instruction)
    page.button(BACK, PREVIOUS)
    values: dict[str, Click] = {}
    for name, choices in product.options.items():
        page.show(name)
        for value in choices:
            if value:
                page.pieces.append((Look.CHOSEN if f'"{value}"' in address else Look.CHOICE, value))
            if value != "search":  # the original never takes a click on that name
                values[value] = Click("option", name)
    page.show(product.name, f"Price: {product.price_tag}", "Rating: N.A.")
    page.button(*TABS, BUY)
    page.clicks.update(values)
    return page


def tab_page(instruction: str, product: Product, tab: str) -> Page:
    """A product's description, features or reviews; the data has no reviews."""
    page = _top(instruction)
    page.button(BACK, PREVIOUS)
    if tab == "Description":
        page.show(product.description)
    elif tab == "Features":
        page.show(*(f" {bullet}" for bullet in product.bullets))
    return page


def done_page(asin: str, chosen: Mapping[str, str], reward: float) -> Page:
    """The page after a purchase."""
    options = json.dumps(dict(chosen), sort_keys=True)
    for sign in "<>&'":  # the page's template writes them so
        options = options.replace(sign, f"\\u{ord(sign):04x}")
    page = Page()
    page.show("Thank you for shopping with us!", "Your code: ", "None", " (Paste it in your MTurk interface.)")
    page.show("Purchased", "asin", asin, "options", options, "attrs", "None", "category", "None", "query", "None")
    page.show("product category", "None", "Target", "asin", "options", "attrs", "price upper", "instuction text")
    page.show("category", "product category", "query", "Goal ", "None", "Reward", "Your score (min 0.0, max 1.0)")
    page.show(str(reward), "Reward Details ", "None")
    return page


def _top(instruction: str) -> Page:
    page = Page()
    page.show("Instruction:", instruction)
    return page
