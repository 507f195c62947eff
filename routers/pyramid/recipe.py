"""Recipes of Pyramid: which models answer which queries, and how the router is learned from that, as YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from harness.config import find_file, load_yaml
from harness.errors import MixrouteError
from harness.pool import load_pool
from harness.training.recipe import RouterRecipe
from routers.pyramid.trees import TreesRecipe

SHIPPED = Path(__file__).parent / "recipes"


class PyramidRecipe(RouterRecipe):
    """Everything that a trained router comes from: on ``tasks`` (router-train) the trees are grown and calibrated, on
    ``dev`` (threshold-dev) figures are measured and thresholds chosen. No instance may be in both.
    """

    members: list[str] | None = Field(default=None, min_length=1)
    """The ensemble, cheapest first: the cascade asks in this order. All of the pool but the oracle if not given."""
    oracle: str = "high"
    anchored: bool = True
    """Whether the oracle also answers ``dev`` with the ensemble's answers before its eyes, so that the router can."""
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
            MixrouteError: the pool cannot be read, lacks a model, or holds nothing but the oracle.
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


def load_recipe(name: str) -> PyramidRecipe:
    """A shipped recipe by name, or one from a ``.yaml`` file.

    Raises:
        MixrouteError: unknown name, or a wrong key or value in the file.
    """
    return load_yaml(find_file("pyramid recipe", name, SHIPPED), PyramidRecipe)
