"""Recipes of routers: what a router is trained on and how, as YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from harness.config import Strict, find_file, load_yaml
from harness.pool import Pool, load_pool
from harness.training.recipe import RouterRecipe
from harness.training.trainer import spec_in_training
from routers.dmr.network import NetworkConfig

SHIPPED = Path(__file__).parent / "recipes"

Label = Literal["kl", "choice", "agreement", "flip"]


class KlSftRecipe(Strict):
    """Stage one: class-weighted cross-entropy on whether a step is sensitive to precision."""

    label: Label = "kl"
    """``kl`` (the paper's): KL(high || low), mean over the tokens of high's action, at least tau. ``choice``: the same
    over the admissible actions. ``agreement``: whether both choose the same action (Hera, arXiv 2605.24598). ``flip``:
    low would write some token of high's action otherwise."""
    rates: list[float] = Field(default=[0.05, 0.1, 0.2, 0.4], min_length=1)
    """Shares K of steps to call sensitive: tau is the quantile that gives it. Unused by labels that are yes or no."""
    doomed: Literal["keep", "low"] = "keep"
    """What becomes of steps where nothing is left to save: in lost episodes those after low first acted where the
    models' actions differ. ``keep`` labels them as all others (the paper's); ``low`` calls them not sensitive: the
    models differ most where both are lost, and high is wasted there."""
    epochs: int = Field(default=30, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    batch: int = Field(default=16, ge=1)
    """Episodes of an update."""
    held_out: float = Field(default=0.2, gt=0, lt=1)
    """Share of the instances that only measure."""


class GrpoRecipe(Strict):
    """Stage two: GRPO on ``success - lambda * share of high steps``, grouped by instance."""

    lambdas: list[float] = Field(default=[0.0, 0.1, 0.3, 1.0], min_length=1)
    rates: list[float] = Field(default=[0.2], min_length=1)
    """Stage-one networks to start from, by their K."""
    start: str = "kl-sft"
    """Where to begin, which is then also the reference. ``kl-sft``: this recipe's stage one, made first where it is not
    there. ``nothing``: a network drawn at random, stage two alone. Else a checkpoint: the name of a shipped one, or a
    folder; nothing needs to be labelled then."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """The threshold at which stage one plays best on dev games. Its logits are moved, so that stage two begins with a
    policy for which high is the likelier choice from there on."""
    iterations: int = Field(default=40, ge=1)
    instances: int = Field(default=32, ge=1)
    """Instances of an iteration."""
    distinct: int | None = Field(default=None, ge=1)
    """Most instances of a task that are rolled out at all, drawn once. The fewer they are, the more of their answers
    are kept from earlier rollouts: on a CPU it is answers that take the time."""
    group: int = Field(default=8, ge=2)
    """Rollouts of an instance."""
    scale: Literal["group", "none"] = "group"
    """``group``: a rollout's advantage is its reward less the group's mean, over the group's standard deviation (GRPO).
    In a group whose rollouts are all won, lambda then cancels out: however little high costs, all the advantage is for
    less of it. ``none``: without the standard deviation (Dr. GRPO, arXiv 2503.20783)."""
    epochs: int = Field(default=2, ge=1)
    """Passes over an iteration's rollouts."""
    batch: int = Field(default=64, ge=1)
    """Rollouts of an update."""
    learning_rate: float = Field(default=3e-4, gt=0)
    clip: float = Field(default=0.2, gt=0)
    kl: float = Field(default=0.01, ge=0)
    """Weight of KL(policy || stage one)."""


class DmrRecipe(RouterRecipe):
    """Everything that a trained router comes from."""

    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """Type that the models compute in while they are labelled and played in training; ``auto`` takes bfloat16 where the
    hardware has it, which is faster. A suite plays in the type that its pool says."""
    labels: str = Field(default="", pattern="^[a-z0-9._-]*$")
    """Name of another recipe of the same pool, tasks and drive, whose labels are learned from; its working folder lies
    beside this one's."""
    drive: float = Field(default=0.5, ge=0, le=1)
    """Share of high steps in the labelled episodes, drawn at random, so that states of both models are labelled."""
    choices: bool = True
    """Whether to label the divergence over the admissible actions too, which takes several times as long."""
    network: NetworkConfig = NetworkConfig()
    kl_sft: KlSftRecipe = KlSftRecipe()
    grpo: GrpoRecipe = GrpoRecipe()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for dev in self.dev:
            for task in self.tasks:
                if (dev.task, dev.split) == (task.task, task.split):
                    raise ValueError(f"dev plays split '{dev.split}' of task '{dev.task}', which is trained on")
        absent = [rate for rate in self.grpo.rates if rate not in self.kl_sft.rates]
        if self.grpo.start == "kl-sft" and absent:
            raise ValueError(f"grpo.rates has {absent[0]}, for which kl_sft.rates {self.kl_sft.rates} has no network")
        if self.kl_sft.label == "choice" and not self.choices:
            raise ValueError("label 'choice' needs 'choices: true'")
        return self


def training_pool(recipe: DmrRecipe) -> Pool:
    """The recipe's pool, in the type that it plays in while routers are trained.

    Raises:
        MixrouteError: the pool cannot be read.
    """
    pool = load_pool(recipe.pool)
    models = {name: spec_in_training(spec, recipe.precision) for name, spec in pool.models.items()}
    return pool.model_copy(update={"models": models})


def load_recipe(name: str) -> DmrRecipe:
    """A shipped recipe by name, or one from a ``.yaml`` file.

    Raises:
        MixrouteError: unknown name, or a wrong key or value in the file.
    """
    return load_yaml(find_file("router recipe", name, SHIPPED), DmrRecipe)
