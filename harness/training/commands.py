"""The commands ``mixroute train agent`` and ``mixroute train average``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.terminal import Terminal

Deterministic = Annotated[
    bool,
    typer.Option(
        "--deterministic", help="Play in deterministic mode, whatever the recipe says: a seed gives one result."
    ),
]
"""An option of the commands that train a router."""


def train_agent(
    recipe_name: Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a shipped recipe, or a .yaml file.")],
    to: Annotated[Path | None, typer.Option("--out", help="Working folder; runs/train/RECIPE if not given.")] = None,
    pool: Annotated[str | None, typer.Option(help="Pool instead of the recipe's: a name or a .yaml file.")] = None,
) -> None:
    """Fine-tune a pool's model on what experts do. The same command again goes on where it was stopped."""
    from harness.training.agent import train_agent
    from harness.training.recipe import AgentRecipe, load_recipe

    recipe = load_recipe(recipe_name, AgentRecipe)
    try:
        result = train_agent(recipe.with_pool(pool), to or Path("runs/train") / recipe.name)
    except KeyboardInterrupt:
        Terminal(stderr=True).print("interrupted: the last checkpoint is kept; the same command goes on from there")
        raise typer.Exit(130) from None
    Terminal().print(f"weights and card are in {result}", highlight=False, markup=False)


def train_average(
    adapters: Annotated[list[Path], typer.Argument(help="Folders of adapters, one trained on from the other.")],
    to: Annotated[Path, typer.Option("--out", help="Folder of the result.")],
) -> None:
    """Average adapters of one shape, tensor by tensor."""
    from harness.training.average import average

    Terminal().print(f"weights and card are in {average(adapters, to)}", highlight=False, markup=False)
