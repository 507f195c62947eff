"""The commands ``mixroute label``, ``export-labels``, ``score-labels``, ``train kl-sft`` and ``train dmr``."""

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


Labels = Annotated[
    Path, typer.Argument(metavar="LABELS", help="Folder of labelled runs, such as runs/routers/RECIPE/labels.")
]


def export(
    labels: Labels,
    to: Annotated[Path, typer.Option("--out", help="Folder of the data set.")] = Path("labels"),
) -> None:
    """Write labelled steps as a data set: labels.parquet, and a card that says what is in it."""
    from routers.dmr.export import export_labels
    from routers.dmr.table import labelled_runs

    table = export_labels(labelled_runs(labels), to)
    typer.echo(f"{len(table)} steps of {table['instance'].nunique()} instances are in {to}")


def score(
    labels: Labels,
    router: Annotated[
        list[str], typer.Option(help="Router to score: NAME or file.py:Class, then ,key=value …; may be repeated.")
    ],
) -> None:
    """Let routers decide labelled steps, without a model: their share of high, and what they find."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from harness.plugins import open_router
    from harness.suite import parse_router
    from harness.terminal import Terminal, line
    from routers.dmr.score import score_router
    from routers.dmr.table import labelled_runs

    runs = labelled_runs(labels)
    columns = ("router", "high share %", "found %", "episodes without a miss", "AUC")
    table = Table(*columns, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for text in router:
        entry = parse_router(text)
        found = score_router(open_router(entry.router, **entry.args), runs)
        auc = ", ".join(f"{name} {value:.3f}" for name, value in found.auc.items())
        whole = f"{found.whole} of {found.episodes}"
        table.add_row(line(entry.name), f"{100 * found.high_share:.1f}", f"{100 * found.found:.1f}", whole, auc)
    Terminal().print(table)
    typer.echo(f"{found.steps} steps; at {found.apart} the models act otherwise; found is the share of these")


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
