"""A recipe that is learned in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

GUESS = f"{Path(__file__).parents[1] / 'pyramid/guess.py'}:Guess"
LENGTH = {"max_tokens": 40}


def write_recipe(folder: Path, pool: Path, **changes: Any) -> Path:
    path = folder / "small.yaml"
    recipe = {
        "schema": 1,
        "name": "small",
        "pool": str(pool),
        "tasks": [{"task": GUESS, "split": "train", "args": {"count": 24, **LENGTH}}],
        "dev": [{"task": GUESS, "split": "dev", "args": {"count": 6, "start": 100, **LENGTH}}],
        "lora": {"rank": 8, "alpha": 16},
        "precision": "float32",
        "warm_up": {"samples": 2, "epochs": 3, "learning_rate": 0.002, "tokens": 9, "temperature": 0.6},
        "grpo": {"iterations": 2, "prompts": 4, "group": 4, "learning_rate": 0.001},
    }
    path.write_text(yaml.safe_dump(recipe | changes))
    return path
