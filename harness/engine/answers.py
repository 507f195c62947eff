"""What routers, tasks and models are asked for before and after play; errors name them and the method."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from harness.contracts import Backend, Calibrated, Router, Task, Trained, TrainedWithPool
from harness.engine.environment import checked_text
from harness.guard import call_plugin
from harness.records import Episode
from harness.suite import RouterEntry
from harness.traces.recording import as_json
from harness.traces.training_pool import KEY


def trained_on(entry: RouterEntry, router: Router) -> frozenset[str]:
    """The instances that a router was trained on; none of one that does not say so.

    Raises:
        MixrouteError: it fails to say so.
    """
    if not isinstance(router, Trained):
        return frozenset()
    return call_plugin(
        f"router '{entry.name}'", "trained_on", lambda: frozenset(map(checked_text, router.trained_on()))
    )


def trained_with(entry: RouterEntry, router: Router) -> dict[str, Any]:
    """The part of a run's provenance that says what pool its router was trained with; empty where it does not say.

    Raises:
        MixrouteError: it fails to say so, or what it says cannot be recorded.
    """
    if not isinstance(router, TrainedWithPool):
        return {}

    def told() -> Any:  # noqa: ANN401 - JSON
        pool, fingerprints = router.trained_with()
        return as_json({"pool": checked_text(pool), "models": dict(fingerprints)})

    found: dict[str, Any] = call_plugin(f"router '{entry.name}'", "trained_with", told)
    return {KEY: found} if found["pool"] or found["models"] else {}


def fitted_by(entry: RouterEntry, router: Calibrated, episodes: Iterable[Episode]) -> dict[str, Any]:
    """The arguments that a router chooses on ``episodes``.

    Raises:
        MixrouteError: it fails, or they cannot be recorded.
    """
    found: dict[str, Any] = call_plugin(f"router '{entry.name}'", "fit", lambda: as_json(dict(router.fit(episodes))))
    return found


def protocol_of(name: str, task: Task) -> dict[str, Any]:
    """A task's protocol, as it is recorded.

    Raises:
        MixrouteError: it fails, or the protocol cannot be recorded.
    """
    found: dict[str, Any] = call_plugin(f"task '{name}'", "protocol", lambda: as_json(dict(task.protocol())))
    return found


def cards_of(models: Mapping[str, Backend]) -> dict[str, dict[str, Any]]:
    """The models' cards, as they are recorded.

    Raises:
        MixrouteError: one fails, or its card cannot be recorded.
    """
    return {name: call_plugin(f"model '{name}'", "card", partial(_card, model)) for name, model in models.items()}


def _card(model: Backend) -> dict[str, Any]:
    card: dict[str, Any] = as_json(asdict(model.card()))
    return card
