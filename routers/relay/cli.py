"""The command ``mixroute train relay``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.training.commands import Deterministic


def train_relay(
    recipe_name: Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a shipped recipe, or a .yaml file.")],
    to: Annotated[Path | None, typer.Option("--out", help="Working folder; runs/routers/RECIPE if not given.")] = None,
    pool: Annotated[str | None, typer.Option(help="Pool instead of the recipe's: a name or a .yaml file.")] = None,
    deterministic: Deterministic = False,
) -> None:
    """Teach a small model to call a large one: warm-up, then GRPO. The same command resumes."""
    from harness.training.recipe import load_recipe
    from routers.relay.recipe import RelayRecipe
    from routers.relay.train import train_relay

    recipe = load_recipe(recipe_name, RelayRecipe).with_pool(pool).with_mode(deterministic=deterministic)
    typer.echo(f"pool: {train_relay(recipe, to or Path('runs/routers') / recipe.name)}")
