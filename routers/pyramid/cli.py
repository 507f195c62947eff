"""The command ``mixroute train pyramid``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.training.commands import Deterministic


def train_pyramid(
    recipe_name: Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a shipped recipe, or a .yaml file.")],
    to: Annotated[Path | None, typer.Option("--out", help="Working folder; runs/routers/RECIPE if not given.")] = None,
    pool: Annotated[str | None, typer.Option(help="Pool instead of the recipe's: a name or a .yaml file.")] = None,
    deterministic: Deterministic = False,
) -> None:
    """Play queries with an ensemble and an oracle, and learn when to ask which. The same command resumes."""
    from harness.training.recipe import load_recipe
    from routers.pyramid.recipe import PyramidRecipe
    from routers.pyramid.train import train_pyramid

    recipe = load_recipe(recipe_name, PyramidRecipe).with_pool(pool).with_mode(deterministic=deterministic)
    typer.echo(f"checkpoint: {train_pyramid(recipe, to or Path('runs/routers') / recipe.name)}")
