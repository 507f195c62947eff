"""The train and dev instances of a router never overlap, even if they come from one split."""

from __future__ import annotations

from typing import Any

import pytest

from harness.training.recipe import RouterRecipe
from harness.training.splits import open_train_and_dev
from mixroute import MixrouteError


def recipe(*, train: int, dev: int, first: int) -> RouterRecipe:
    def entry(problems: int) -> dict[str, Any]:
        return {"task": "arith-gen", "split": "train", "args": {"problems": problems, "seed": first}}

    content = {"schema": 1, "name": "small", "pool": "ladder", "tasks": [entry(train)], "dev": [entry(dev)]}
    return RouterRecipe.model_validate(content)


def names(recipe: RouterRecipe) -> list[set[str]]:
    return [{instance.id for one in opened for instance in one.instances} for opened in open_train_and_dev(recipe)]


def test_dev_is_left_out_of_what_is_learned_from() -> None:
    train, dev = names(recipe(train=36, dev=12, first=900_000))
    assert (len(train), len(dev)) == (24, 12)
    assert not train & dev


def test_instances_that_a_model_of_the_pool_was_trained_on_are_in_neither() -> None:
    train, dev = names(recipe(train=48, dev=24, first=2_388))  # the adapter of `low` has seen problems 0 to 2,399
    assert (len(train), len(dev)) == (24, 12)


def test_a_task_without_instances_left_is_named() -> None:
    with pytest.raises(
        MixrouteError, match="'arith-gen' has no instance in split 'train' left: a model was trained on"
    ):
        open_train_and_dev(recipe(train=12, dev=12, first=900_000))
