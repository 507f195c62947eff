"""Recipes of RelayLLM in YAML: which model learns to call which, on which tasks, and how."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from harness.config import Strict
from harness.errors import MixrouteError
from harness.pool import ModelSpec, load_pool
from harness.suite import RouterEntry
from harness.training.recipe import AgentRecipe, Lesson, Lora, RouterRecipe
from routers.relay.router import MOST_CALLS

RELAY = "relay"
"""Name of the trained small model in the pool that training writes."""


class WarmUpRecipe(Strict):
    """Supervised fine-tuning on the small model's own right answers, or on a teacher's, with call tags inserted."""

    teacher: RouterEntry | None = None
    """If given (ours), answers of this router, right or wrong, are learned instead of the small model's own right ones:
    a tag is inserted before each part that the large model wrote, and that part is not learned."""
    samples: int = Field(default=4, ge=1)
    """Answers sampled for each prompt; the right ones are learned, or all of a teacher's."""
    temperature: float = Field(default=1.0, ge=0)
    commands: int = Field(default=3, ge=0)
    """Most tags inserted into an answer; the number is uniform from 0 up to this, and so is the position."""
    tokens: int = Field(default=20, ge=1)
    """Most tokens that an inserted tag asks for; the number is uniform from 1 up to this (ours)."""
    unsure: float | None = Field(default=None, ge=0)
    """If given (ours), tags are not inserted at random: a tag precedes each word of which some token had more than this
    entropy (nats) when it was sampled, or the ``commands`` least certain of these words. It asks for the word's tokens
    and one more, which shows where the word ends."""
    epochs: float = Field(default=1.0, gt=0)
    learning_rate: float = Field(default=2e-4, gt=0)
    batch_tokens: int = Field(default=1024, ge=1)
    """Most tokens in an update, padding included."""

    @model_validator(mode="after")
    def _placed_once(self) -> Self:
        own = ("commands", "tokens", "unsure")
        placing = [name for name in own if getattr(self, name) != type(self).model_fields[name].default]
        if self.teacher and placing:
            raise ValueError(f"a teacher places the commands itself: leave out {', '.join(placing)}")
        return self


class GrpoRecipe(Strict):
    """GRPO on the difficulty-aware reward, grouped by prompt."""

    iterations: int = Field(default=40, ge=0)
    """0 for the warm-up alone."""
    prompts: int = Field(default=16, ge=1)
    """Prompts in an iteration; each iteration draws its own."""
    group: int = Field(default=8, ge=2)
    """Rollouts for each prompt."""
    temperature: float = Field(default=1.0, gt=0)
    """Temperature of the small model; the large one is greedy."""
    epochs: int = Field(default=1, ge=1)
    """Passes over an iteration's rollouts."""
    batch: int = Field(default=64, ge=1)
    """Rollouts in an update."""
    batch_tokens: int = Field(default=1024, ge=1)
    """Most tokens in one forward pass, padding included. It determines the memory use and changes no result."""
    learning_rate: float = Field(default=2e-5, gt=0)
    """The paper's 1e-6 is for all weights; an adapter takes more (ours)."""
    clip: float = Field(default=0.2, gt=0)
    kl: float = Field(default=0.01, ge=0)
    """Weight of KL(policy || warm-up)."""


class RelayRecipe(RouterRecipe):
    """Pool, data and hyperparameters of a trained small model."""

    kind: ClassVar[str] = "relay recipe"
    shipped: ClassVar[Path] = Path(__file__).parent / "recipes"

    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """Type of the matrix products in training and of the models that play meanwhile; as in recipes of agents."""
    small: str = "low"
    large: str = "high"
    calls: int = Field(default=MOST_CALLS, ge=1)
    """Most calls in an answer."""
    lora: Lora = Lora(rank=8, alpha=16)
    """LoRA sizes. If the pool's small model has an adapter, training continues from that adapter instead."""
    longest: int = Field(default=2048, ge=1)
    """Most tokens of an answer with its prompt; longer ones are left out of the warm-up."""
    warm_up: WarmUpRecipe = WarmUpRecipe()
    grpo: GrpoRecipe = GrpoRecipe()

    @model_validator(mode="after")
    def _names(self) -> Self:
        if self.small == self.large:
            raise ValueError(f"small and large are both '{self.small}': name two models of the pool")
        return self

    def specs(self) -> tuple[ModelSpec, ModelSpec]:
        """The small and the large model.

        Raises:
            MixrouteError: the pool cannot be read or lacks one, or the small model cannot be trained.
        """
        models = load_pool(self.pool).models
        for name in (self.small, self.large):
            if name not in models:
                raise MixrouteError(f"recipe '{self.name}': pool '{self.pool}' has no model '{name}': {list(models)}")
        if RELAY in models:
            raise MixrouteError(f"recipe '{self.name}': pool '{self.pool}' has a model '{RELAY}' already")
        if models[self.small].backend != "transformers":
            raise MixrouteError(
                f"recipe '{self.name}': model '{self.small}' runs on backend '{models[self.small].backend}': only "
                "'transformers' returns the token ids that training needs"
            )
        return models[self.small], models[self.large]

    def warm_up_recipe(self, spec: ModelSpec) -> AgentRecipe:
        """The warm-up as a recipe of an agent; its examples are made by ``training_data``."""
        return AgentRecipe.model_validate(
            {
                "schema": 1,
                "lessons": [Lesson(**entry.model_dump(exclude={"calibration"})) for entry in self.tasks],
                "model": self.small,
                "start": spec.adapter,
                "evaluations": 1,
                **{
                    name: getattr(self, name)
                    for name in ("name", "pool", "dev", "lora", "longest", "precision", "seed")
                },
                **self.warm_up.model_dump(include={"epochs", "learning_rate", "batch_tokens"}),
            }
        )
