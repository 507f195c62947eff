"""Routers that were trained with other models than those that they route between."""

from __future__ import annotations

from collections.abc import Mapping

from harness.records import RunMeta
from harness.text import cut

KEY = "trained_with"
"""Key of a run's provenance: the pool that its router was trained with, where it says so."""


def other_pool_note(meta: RunMeta) -> str:
    """A note where a run's router was trained with another pool; empty where it was not, or nothing is recorded.

    A pool is the same by its name, or by its models: fingerprints also cover how models are run, and version by version
    they may change.
    """
    recorded = meta.provenance.get(KEY)
    if not isinstance(recorded, Mapping):
        return ""
    name, models = recorded.get("pool"), recorded.get("models")
    if not isinstance(name, str) or not isinstance(models, Mapping):
        return ""
    if name in (meta.pool, meta.provenance.get("pool_file")):
        return ""
    own = {model: card.get("fingerprint") for model, card in meta.models.items()}
    if models and all(own.get(model) == fingerprint for model, fingerprint in models.items()):
        return ""
    return f"its router was trained with pool {cut(name, 80)}, and routes between the models of another"
