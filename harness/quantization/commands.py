"""The commands ``mixroute quantize`` and ``mixroute variants``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.shell_completion import PoolName
from harness.terminal import Terminal


def quantize(
    pool_name: PoolName,
    recipe: Annotated[str, typer.Option(help="Recipe whose lessons are the calibration prompts.")],
    to: Annotated[Path, typer.Option("--out", help="Folder of the variants and of their pool file.")],
    model: Annotated[str, typer.Option(help="Model to quantize.")] = "high",
    scheme: Annotated[list[str] | None, typer.Option(help="May be repeated; all if not given.")] = None,
    place: Annotated[
        str | None, typer.Option("--as", help="Write the pool itself, with the one variant as this model of it.")
    ] = None,
) -> None:
    """Make quantized variants of a model: AWQ, GPTQ and round-to-nearest, in the compressed-tensors format."""
    from harness.quantization.quantize import quantize
    from harness.training.recipe import AgentRecipe, load_recipe
    from harness.weights.schemes import SCHEMES

    made = quantize(pool_name, model, scheme or list(SCHEMES), load_recipe(recipe, AgentRecipe), to, place)
    done = f"pool: {made}" if place else f"next: mixroute variants {made} --recipe {recipe} --out {to}"
    Terminal().print(done, highlight=False, markup=False)


def variants(
    pool_name: PoolName,
    recipe: Annotated[str, typer.Option(help="Recipe whose dev games are played.")],
    to: Annotated[Path, typer.Option("--out", help="Folder of the table.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Play so many instances of each dev task.")] = None,
) -> None:
    """Compare the models of a pool with its high one: bits, KL, flipped actions, success."""
    from harness.quantization.compare import compare, markdown
    from harness.training.recipe import AgentRecipe, load_recipe

    tasks = load_recipe(recipe, AgentRecipe).dev
    if limit:
        tasks = [task.model_copy(update={"limit": limit}) for task in tasks]
    Terminal().print(markdown(compare(pool_name, tasks, to)), highlight=False, markup=False)
