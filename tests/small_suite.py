"""A small suite for tests of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

SUITE: dict[str, Any] = {
    "schema": 1,
    "name": "small",
    "concurrency": 4,
    "tasks": [
        {
            "task": "alfworld-gen",
            "split": "test",
            "limit": 6,
            "args": {"step_cap": 3},
            "calibration": {"split": "dev", "limit": 2},
        }
    ],
    "routers": ["always-high", "always-low", "stuck", {"router": "uncertainty", "args": {"target_share": 0.5}}],
}


def write_suite(folder: Path, pool_file: Path, **changes: object) -> Path:
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump({**SUITE, "pool": str(pool_file)} | changes))
    return path
