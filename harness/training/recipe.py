"""Recipes in YAML: what is trained, on which instances and how. Recipes of routers extend ``RouterRecipe``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar

from pydantic import Field, model_validator

from harness.config import NAME, Strict, find_file, load_yaml
from harness.suite import Mode, TaskEntry


class Recipe(Strict):
    """Keys of every recipe."""

    kind: ClassVar[str] = "recipe"
    """Names the kind of recipe in errors."""
    shipped: ClassVar[Path]
    """Folder of the recipes that come with the program."""

    schema_: Literal[1] = Field(alias="schema")
    name: str = Field(pattern=NAME)
    description: str = ""
    pool: str
    dev: list[TaskEntry] = Field(min_length=1)
    """Played to measure and to choose thresholds, never trained on."""
    seed: int = 0

    def with_pool(self, pool: str | None) -> Self:
        """This recipe with another pool, if one is given."""
        return self.model_copy(update={"pool": pool}) if pool else self


class RouterRecipe(Recipe):
    """Keys of every recipe of a router."""

    mode: Mode = "deterministic"
    """In mode ``throughput`` answers depend on what else is in a batch, and so the result on more than the seed."""
    tasks: list[TaskEntry] = Field(min_length=1)
    """Train tasks. Instances that a model of the pool was trained on are left out, since it behaves differently
    there."""

    def with_mode(self, *, deterministic: bool) -> Self:
        """This recipe, in deterministic mode if that is asked for."""
        return self.model_copy(update={"mode": "deterministic"}) if deterministic else self


class Lesson(Strict):
    """Instances of one training split, played by the task's expert."""

    task: str
    split: str = "train"
    args: dict[str, Any] = Field(default_factory=dict)
    limit: int | None = Field(None, ge=1)
    """A fixed sample, spread evenly over the kinds of instance; default all."""
    slips: float = Field(0.0, ge=0, lt=1)
    """Chance that a step is a mistake, which the expert then corrects. Mistakes are in the context and not learned."""
    mistaken_thoughts: float = Field(0.0, ge=0, lt=1)
    """Chance that a step is a mistaken thought and the action that follows from it, for scaffolds with thoughts."""
    unseen: bool = False
    """Whether to leave out the instances that the adapter under ``start`` was trained on."""
    takeover: bool = False
    """The model plays first, as it is when training begins, and the expert takes over where the model left its path
    (DAgger). Otherwise the expert plays from the start."""


class Lora(Strict):
    """Low-rank adapters on all linear layers but the head."""

    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)


class AgentRecipe(Recipe):
    """Supervised fine-tuning of one model of a pool on the actions of experts, with greedy dev games in between."""

    shipped: ClassVar[Path] = Path(__file__).parents[1] / "recipes"

    model: str = "high"
    lessons: list[Lesson] = Field(min_length=1)
    lora: Lora | None = Lora()
    """``null`` trains all weights."""
    start: str | None = None
    """Folder of an adapter to continue from, relative to where the command is run. The pool's adapter is ignored."""
    epochs: float = Field(1.0, gt=0)
    learning_rate: float = Field(1e-3, gt=0)
    """Peak learning rate: linear warm-up over the share ``warmup`` of all updates, then cosine decay."""
    warmup: float = Field(0.05, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    batch_tokens: int = Field(1024, ge=1)
    """Most tokens in an update, padding included; a longer episode is an update of its own."""
    longest: int = Field(2048, ge=1)
    """Episodes of more tokens are left out."""
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """Type of the matrix products; weights stay float32. ``auto`` takes bfloat16 where the hardware has it."""
    evaluations: int = Field(8, ge=1)
    """How often the dev games are played, including once at the end."""

    @model_validator(mode="after")
    def _has_a_player(self) -> Self:
        if any(lesson.takeover for lesson in self.lessons) and not self.start:
            raise ValueError("a lesson with 'takeover' needs a model that plays: name its adapter under 'start'")
        return self


R = TypeVar("R", bound=Recipe)


def load_recipe(name: str, model: type[R]) -> R:
    """Load a recipe.

    Args:
        name: Name of a shipped recipe of this kind, or path of a ``.yaml`` file.
        model: Kind of recipe.

    Raises:
        MixrouteError: unknown name, or a wrong key or value in the file.
    """
    return load_yaml(find_file(model.kind, name, model.shipped), model)
