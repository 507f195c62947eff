"""The commands ``mixroute label``, ``mixroute train kl-sft`` and ``mixroute train dmr``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.engine import executors
from harness.training.commands import Deterministic

Recipe = Annotated[str, typer.Argument(metavar="RECIPE", help="Name of a shipped router recipe, or a .yaml file.")]
Out = Annotated[Path | None, typer.Option("--out", help="Working folder; runs/routers/RECIPE if not given.")]


def label(
    recipe_name: Recipe,
    to: Out = None,
    deterministic: Deterministic = False,
    executor: executors.Name = "local",
    workers: executors.Workers = None,
    ray_address: executors.RayAddress = None,
    cpus_per_worker: executors.CpusPerWorker = None,
    gpus_per_worker: executors.GpusPerWorker = 0.0,
) -> None:
    """Play train episodes with both models and label how far they diverge at each step."""
    from harness.training.recipe import load_recipe
    from routers.dmr.label import label
    from routers.dmr.recipe import DmrRecipe
    from routers.dmr.report import report

    recipe = load_recipe(recipe_name, DmrRecipe).with_mode(deterministic=deterministic)
    player = executors.executor_for(executor, workers, ray_address, cpus_per_worker, gpus_per_worker)
    for run in label(recipe, _folder(recipe.name, to), player):
        typer.echo(f"labels are in {run}")
        typer.echo(report(run))


def train_kl_sft(
    recipe_name: Recipe,
    to: Out = None,
    deterministic: Deterministic = False,
    executor: executors.Name = "local",
    workers: executors.Workers = None,
    ray_address: executors.RayAddress = None,
    cpus_per_worker: executors.CpusPerWorker = None,
    gpus_per_worker: executors.GpusPerWorker = 0.0,
) -> None:
    """Train stage one of DMR, one network for each rate; labels are made first if there are none."""
    from harness.training.recipe import load_recipe
    from routers.dmr.kl_sft import train_kl_sft
    from routers.dmr.recipe import DmrRecipe

    recipe = load_recipe(recipe_name, DmrRecipe).with_mode(deterministic=deterministic)
    player = executors.executor_for(executor, workers, ray_address, cpus_per_worker, gpus_per_worker)
    for folder in train_kl_sft(recipe, _folder(recipe.name, to), player).values():
        typer.echo(f"checkpoint: {folder}")


def train_dmr(recipe_name: Recipe, to: Out = None, deterministic: Deterministic = False) -> None:
    """Train stage two of DMR over the recipe's grid; stage one comes first. The same command resumes."""
    from harness.training.recipe import load_recipe
    from routers.dmr.recipe import DmrRecipe
    from routers.dmr.train import train_dmr

    recipe = load_recipe(recipe_name, DmrRecipe).with_mode(deterministic=deterministic)
    for folder in train_dmr(recipe, _folder(recipe.name, to)):
        typer.echo(f"checkpoint: {folder}")


def _folder(name: str, to: Path | None) -> Path:
    return to or Path("runs/routers") / name
