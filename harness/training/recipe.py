"""Recipes: what an agent is trained on and how, as YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from harness.config import Strict, find_file, load_yaml
from harness.suite import Mode, TaskEntry

SHIPPED = Path(__file__).parent.parent / "recipes"


class Recipe(Strict):
    """What every recipe says."""

    schema_: Literal[1] = Field(alias="schema")
    name: str = Field(pattern="^[a-z0-9._-]+$")
    description: str = ""
    pool: str
    dev: list[TaskEntry] = Field(min_length=1)
    """Played to measure and to choose thresholds, never trained on."""
    seed: int = 0

    def with_pool(self, pool: str | None) -> Self:
        """The same with another pool, if one is given."""
        return self.model_copy(update={"pool": pool}) if pool else self


class RouterRecipe(Recipe):
    """What every recipe of a router says."""

    mode: Mode = "deterministic"
    tasks: list[TaskEntry] = Field(min_length=1)
    """Trained on. Instances that a model of the pool was trained on are left out: it behaves differently there."""


class Lesson(Strict):
    """Instances of one training split, played by the task's expert."""

    task: str
    split: str = "train"
    args: dict[str, Any] = Field(default_factory=dict)
    limit: int | None = Field(None, ge=1)
    """A fixed sample, spread evenly over the kinds of instance; default all."""
    slips: float = Field(0.0, ge=0, lt=1)
    """Chance that a step is a mistake, which the expert then mends; mistakes are read and not learned."""
    unseen: bool = False
    """Leaves out what the adapter under ``start`` was trained on."""
    takeover: bool = False
    """The model plays first, as it is when training begins, and the expert takes over where the model left its path
    (DAgger). Otherwise the expert plays from the start."""


class Lora(Strict):
    """Low-rank adapters on all linear layers but the head."""

    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)


class AgentRecipe(Recipe):
    """Supervised fine-tuning of one model of a pool on the actions of experts. ``dev`` is played greedily meanwhile."""

    model: str = "high"
    lessons: list[Lesson] = Field(min_length=1)
    lora: Lora | None = Lora()
    """``null`` trains all weights."""
    start: str | None = None
    """Folder of an adapter to go on from, relative to where the command is run. What the pool names is left aside."""
    epochs: float = Field(1.0, gt=0)
    learning_rate: float = Field(1e-3, gt=0)
    """At its peak; it rises over ``warmup`` of all updates and falls along a cosine."""
    warmup: float = Field(0.05, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    batch_tokens: int = Field(1024, ge=1)
    """Most tokens in an update, padding included; a longer episode makes one by itself."""
    longest: int = Field(2048, ge=1)
    """Episodes of more tokens are left out."""
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """Type of the matrix products; weights stay float32. ``auto`` takes bfloat16 where the hardware has it."""
    evaluations: int = Field(8, ge=1)
    """How often the dev games are played, the end included."""

    @model_validator(mode="after")
    def _has_a_player(self) -> Self:
        if any(lesson.takeover for lesson in self.lessons) and not self.start:
            raise ValueError("a lesson with 'takeover' needs a model that plays: name its adapter under 'start'")
        return self


def load_recipe(name: str) -> AgentRecipe:
    """A shipped recipe by name, or one from a ``.yaml`` file.

    Raises:
        MixrouteError: unknown name, or a wrong key or value in the file.
    """
    return load_yaml(find_file("recipe", name, SHIPPED), AgentRecipe)
