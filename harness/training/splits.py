"""The train and dev instances of a router's recipe, which never overlap."""

from __future__ import annotations

from collections.abc import Collection

from harness.engine.opening import OpenTask, open_instances
from harness.errors import MixrouteError
from harness.pool import load_pool
from harness.traces.contamination import instance_key, seen_by
from harness.training.recipe import RouterRecipe


def open_training_tasks(recipe: RouterRecipe, without: Collection[str] = ()) -> list[OpenTask]:
    """The recipe's tasks without the instances that a model of its pool was trained on.

    Args:
        recipe: Recipe that names the tasks.
        without: More instances to leave out, as named by ``instance_key``.

    Raises:
        MixrouteError: a task cannot be opened, or has no instance left.
    """
    unwanted = seen_by(load_pool(recipe.pool)).union(without)
    return [open_instances(entry, without=unwanted) for entry in recipe.tasks]


def open_train_and_dev(recipe: RouterRecipe) -> tuple[list[OpenTask], list[OpenTask]]:
    """Open the recipe's ``tasks`` and ``dev`` for routers of single answers.

    Instances that a model of the pool was trained on are in neither. Those of ``dev`` are left out of ``tasks``, so
    that one split of a data set can provide both.

    Returns:
        The train tasks and the dev tasks.

    Raises:
        MixrouteError: a task has no instance left, or more than one step, so that answers are not graded alone.
    """
    seen = seen_by(load_pool(recipe.pool))
    dev = [open_instances(entry, without=seen) for entry in recipe.dev]
    held_out = {instance_key(one.task.name, played.id) for one in dev for played in one.instances}
    train = open_training_tasks(recipe, held_out)
    for opened in (*train, *dev):
        if opened.task.step_cap != 1:
            raise MixrouteError(
                f"recipe '{recipe.name}': task '{opened.entry.task}' has up to {opened.task.step_cap} steps: this "
                "router is trained on tasks of one step, where each answer is graded by itself"
            )
    return train, dev
