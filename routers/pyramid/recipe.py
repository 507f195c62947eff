"""Recipes of Pyramid in YAML: which models answer which queries, and how the router is trained."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, model_validator

from harness.errors import MixrouteError
from harness.pool import load_pool
from harness.training.recipe import RouterRecipe
from routers.pyramid.trees import TreesRecipe


class PyramidRecipe(RouterRecipe):
    """Pool, data and hyperparameters of a trained router. Trees are grown and calibrated on ``tasks``; metrics are
    measured and thresholds chosen on ``dev``. No instance may be in both.
    """

    kind: ClassVar[str] = "pyramid recipe"
    shipped: ClassVar[Path] = Path(__file__).parent / "recipes"

    members: list[str] | None = Field(default=None, min_length=1)
    """The ensemble, cheapest first: the cascade asks in this order. All of the pool but the oracle if not given."""
    oracle: str = "high"
    anchored: bool = True
    """Whether the oracle also answers ``dev`` with the ensemble's answers in its context, for anchored routers."""
    equations: bool = False
    """Whether the router also checks the equations that the answers write down (ours)."""
    keep: float = Field(default=0.95, gt=0, le=1)
    """Thresholds are the cheapest that keep this share of the oracle's accuracy on ``dev``."""
    trees: TreesRecipe = TreesRecipe()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [*(self.members or []), self.oracle]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"model '{name}' is named twice among members and oracle")
        return self

    def ensemble(self) -> list[str]:
        """Names of the members.

        Raises:
            MixrouteError: the pool cannot be read, lacks a model, or has no model besides the oracle.
        """
        known = list(load_pool(self.pool).models)
        members = self.members or [name for name in known if name != self.oracle]
        for name in (*members, self.oracle):
            if name not in known:
                raise MixrouteError(
                    f"recipe '{self.name}': pool '{self.pool}' has no model '{name}': it has {', '.join(known)}"
                )
        if not members:
            raise MixrouteError(f"recipe '{self.name}': pool '{self.pool}' has no model besides oracle '{self.oracle}'")
        return members
