"""The command ``mixroute train relay``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train_relay(
    recipe_name: Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a shipped recipe, or a .yaml file.")],
    to: Annotated[Path | None, typer.Option("--out", help="Working folder; runs/routers/RECIPE if not given.")] = None,
    pool: Annotated[str | None, typer.Option(help="Pool instead of the recipe's: a name or a .yaml file.")] = None,
) -> None:
    """Teach a small model to call a large one: warm-up, then GRPO. The same command resumes."""
    from harness.training.recipe import load_recipe
    from routers.relay.recipe import RelayRecipe
    from routers.relay.train import train_relay

    recipe = load_recipe(recipe_name, RelayRecipe)
    typer.echo(f"pool: {train_relay(recipe.with_pool(pool), to or Path('runs/routers') / recipe.name)}")
