"""Roles of the routers behind a board's rows."""

from __future__ import annotations

from harness.data import RouterRole
from harness.records import RunMeta

# Runs from before roles were recorded: what their routers were compared as. A new router needs no entry here.
_UNRECORDED: dict[str, RouterRole] = {
    "random": "random",
    "token-random": "random",
    "always-high": "baseline",
    "always-low": "baseline",
    "first-k": "baseline",
    "every-k": "baseline",
    "stuck": "baseline",
    "phase": "baseline",
    "unlisted": "baseline",
    "uncertainty": "baseline",
    "token-entropy": "baseline",
    "step-entropy": "baseline",
    "agreement-oracle": "oracle",
    "kl-oracle": "oracle",
}


def recorded_role(meta: RunMeta) -> RouterRole:
    """The role that a run recorded; of an older run, that of its router then, ``trained`` where it had none."""
    return meta.role or _UNRECORDED.get(meta.router, "trained")
