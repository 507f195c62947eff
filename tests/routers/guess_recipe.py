"""A recipe on the task ``guess``, which is learned in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

GUESS = f"{Path(__file__).parent / 'pyramid/guess.py'}:Guess"


def write_guess_recipe(
    folder: Path, pool: Path, *, train_count: int, dev_count: int, max_tokens: int = 3, **keys: Any
) -> Path:
    """Write it; it learns from the first ``train_count`` questions, and has dev from number 100 on.

    Args:
        folder: Where to.
        pool: File of the pool.
        train_count: Questions of it.
        dev_count: Questions of it.
        max_tokens: Of an answer.
        keys: More of the recipe, or other values.
    """
    recipe = {
        "schema": 1,
        "name": "small",
        "pool": str(pool),
        "tasks": [{"task": GUESS, "split": "train", "args": {"count": train_count, "max_tokens": max_tokens}}],
        "dev": [{"task": GUESS, "split": "dev", "args": {"count": dev_count, "start": 100, "max_tokens": max_tokens}}],
    }
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(recipe | keys))
    return path
