"""Identity of a run: hashes of everything that may change its result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.files import content_hash
from harness.suite import RunConfig
from harness.traces.store import SCHEMA


def run_hash(
    config: RunConfig, protocol: Mapping[str, Any], fingerprints: Mapping[str, str], fitted: Mapping[str, Any]
) -> tuple[str, str]:
    """Hashes of the run and of its group; see ``harness.records.RunMeta``.

    Args:
        config: The run's settings.
        protocol: The task's protocol.
        fingerprints: Fingerprints of the pool's models, by name.
        fitted: Router arguments chosen on development episodes.
    """
    shared = {
        "schema": SCHEMA,
        "config": config.comparable(),
        "protocol": dict(protocol),
        "models": dict(fingerprints),
    }
    own = {"router": config.router, "router_args": config.router_args, "seed": config.seed, "fitted": dict(fitted)}
    return content_hash({**shared, **own}), content_hash(shared)


def run_id(config: RunConfig, pool: str, label: str, full_hash: str) -> str:
    """The name of the run's folder."""
    slug = "".join(c if c.isalnum() or c in ".=-" else "-" for c in label).strip("-")[:80]
    return f"{config.task}_{config.split}_{pool}_{slug}_s{config.seed}_{full_hash[:8]}".replace("/", "-")
