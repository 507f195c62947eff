"""Recipes of DMR in YAML."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import AliasChoices, Field, model_validator

from harness.config import NAME, Strict
from harness.pool import Pool, load_pool
from harness.training.recipe import RouterRecipe
from harness.training.trainer import spec_in_training
from routers.dmr.network import NetworkConfig

Label = Literal["kl", "reply", "choice", "agreement", "flip"]


class KlSftRecipe(Strict):
    """Stage one: class-weighted cross-entropy on whether a step is sensitive to precision."""

    label: Label = "kl"
    """``kl`` (the paper's): KL(high || low), mean over the tokens of the action, is at least tau (``StepLabel.kl`` says
    whose). ``reply``: KL over all tokens of high's reply is, its thought included. ``choice``: KL over the admissible
    actions is. ``agreement``: the models choose different actions (Hera, arXiv 2605.24598). ``flip``: low would write
    some token of the action differently."""
    rates: list[float] = Field(default=[0.05, 0.1, 0.2, 0.4], min_length=1)
    """Shares K of steps to call sensitive; tau is the quantile that gives K. Not used by labels without a threshold."""
    unrecoverable_steps: Literal["keep", "low"] = Field(
        default="keep", validation_alias=AliasChoices("unrecoverable_steps", "doomed")
    )
    """How to label steps at which the episode can no longer be won: in lost episodes, the steps after low first acted
    where the models' actions differ. ``keep`` labels them like all others (the paper's); ``low`` calls them not
    sensitive: the models differ most where neither can win, and high is wasted there. Older recipes call this key
    ``doomed``."""
    epochs: int = Field(default=30, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    batch: int = Field(default=16, ge=1)
    """Episodes in an update."""
    held_out: float = Field(default=0.2, gt=0, lt=1)
    """Share of the instances that are held out for metrics."""


class GrpoRecipe(Strict):
    """Stage two: GRPO on ``success - lambda * share of high steps``, grouped by instance."""

    lambdas: list[float] = Field(default=[0.0, 0.1, 0.3, 1.0], min_length=1)
    rates: list[float] = Field(default=[0.2], min_length=1)
    """Rates K of the stage-one networks to start from."""
    start: str = "kl-sft"
    """Initial network, which is also the reference. ``kl-sft``: this recipe's stage one, which is trained first if
    missing. ``nothing``: random weights, that is, stage two alone. Otherwise a checkpoint: the name of a shipped
    one, or a folder; no labels are needed then."""
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """Threshold at which stage one plays best on dev games. Its logits are shifted, so that stage two begins with a
    policy that prefers high from this probability on."""
    iterations: int = Field(default=40, ge=1)
    instances: int = Field(default=32, ge=1)
    """Instances in an iteration."""
    distinct: int | None = Field(default=None, ge=1)
    """Most instances of a task that are rolled out at all, drawn once. The fewer they are, the more completions come
    from the completion cache, which saves most of the time on a CPU."""
    group: int = Field(default=8, ge=2)
    """Rollouts for each instance."""
    scale: Literal["group", "none"] = "group"
    """``group``: a rollout's advantage is its reward minus the group's mean, over the group's standard deviation
    (GRPO). In a group that is won throughout, lambda then cancels out: even if high costs little, only its share
    decides the advantage. ``none``: without the standard deviation (Dr. GRPO, arXiv 2503.20783)."""
    epochs: int = Field(default=2, ge=1)
    """Passes over an iteration's rollouts."""
    batch: int = Field(default=64, ge=1)
    """Rollouts in an update."""
    learning_rate: float = Field(default=3e-4, gt=0)
    clip: float = Field(default=0.2, gt=0)
    kl: float = Field(default=0.01, ge=0)
    """Weight of KL(policy || stage one)."""


class DmrRecipe(RouterRecipe):
    """Pool, data, labels and hyperparameters of a trained router."""

    kind: ClassVar[str] = "router recipe"
    shipped: ClassVar[Path] = Path(__file__).parent / "recipes"

    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """Type that the models compute in while they are labelled and played in training; ``auto`` takes bfloat16 where the
    hardware has it, which is faster. A suite plays in the type that its pool says."""
    labels: str = Field(default="", pattern=f"^$|{NAME}")
    """Name of another recipe with the same pool, tasks and ``behaviour_high_share``, whose labels are used; its working
    folder lies beside this one's."""
    behaviour_high_share: float = Field(
        default=0.5, ge=0, le=1, validation_alias=AliasChoices("behaviour_high_share", "drive")
    )
    """Share of steps that high answers in the labelled episodes (the behaviour policy), drawn at random, so that states
    of both models are labelled. Older recipes call this key ``drive``."""
    choices: bool = True
    """Whether to also label the divergence over the admissible actions, which takes several times as long."""
    network: NetworkConfig = NetworkConfig()
    kl_sft: KlSftRecipe = KlSftRecipe()
    grpo: GrpoRecipe = GrpoRecipe()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
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
    """The recipe's pool, with the type that models compute in during training.

    Raises:
        MixrouteError: the pool cannot be read.
    """
    pool = load_pool(recipe.pool)
    return pool.with_models({name: spec_in_training(spec, recipe.precision) for name, spec in pool.models.items()})
