"""Scripted players: what can be scored without reading anything but the first page of results."""

from collections.abc import Mapping

from harness.contracts import Environment
from tasks.webshop.goal import Goal

BUY = "click[buy now]"


def products(text: str) -> list[str]:
    """ASINs on a page of results in the form ``text``, in order."""
    return [piece for piece in text.split(" [SEP] ") if piece.isalnum() and len(piece) == 10 and piece.startswith("B0")]


def play(environment: Environment, goal: Goal, *, options: bool, own: bool) -> float:
    """Search by the instruction, open a product and buy it; returns the reward.

    Args:
        environment: Of ``goal``.
        goal: What is asked for.
        options: Whether to choose the goal's options where the product has them.
        own: Whether to open the goal's own product if it is on the first page, and not the first hit.
    """
    environment.reset()
    found = products(environment.step(f"search[{goal.instruction_text}]")[0].text)
    if not found:
        return 0.0
    asin = goal.asin if own and goal.asin in found else found[0]
    observation, _, _ = environment.step(f"click[{asin.lower()}]")
    asked = goal.goal_options.values() if isinstance(goal.goal_options, Mapping) else goal.goal_options
    for value in asked if options else ():
        if f"click[{value}]" in observation.admissible:
            environment.step(f"click[{value}]")
    return environment.step(BUY)[1]
