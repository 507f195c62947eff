"""The instances that a router of single answers is trained on, and those that it is measured on."""

from __future__ import annotations

from harness.errors import MixrouteError
from harness.pool import load_pool
from harness.run import OpenTask, open_instances
from harness.training.agent import check_apart
from harness.training.card import seen_by
from harness.training.recipe import RouterRecipe


def open_sections(recipe: RouterRecipe) -> tuple[list[OpenTask], list[OpenTask]]:
    """Those of ``tasks`` and those of ``dev``, without what a model of the pool was trained on.

    Raises:
        MixrouteError: an instance is in both, or a task has more than one step, so that answers are not graded alone.
    """
    seen = seen_by(load_pool(recipe.pool))
    train, dev = ([open_instances(entry, without=seen) for entry in entries] for entries in (recipe.tasks, recipe.dev))
    for opened in (*train, *dev):
        if opened.task.step_cap != 1:
            raise MixrouteError(
                f"recipe '{recipe.name}': task '{opened.entry.task}' has up to {opened.task.step_cap} steps: this "
                "router is trained on tasks of one step, where each answer is graded by itself"
            )
    check_apart(train, dev)
    return train, dev
