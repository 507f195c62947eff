"""The record of a run that is about to begin: ``run.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.contracts import Router, role_of
from harness.engine.answers import trained_with
from harness.engine.identity import run_hash, run_id
from harness.provenance import source_of
from harness.records import RunMeta
from harness.suite import RouterEntry, RunConfig
from harness.traces.store import SCHEMA


def run_meta(
    config: RunConfig,
    entry: RouterEntry,
    router: Router,
    *,
    task: str,
    pool_file: str,
    concurrency: int,
    cards: Mapping[str, Mapping[str, Any]],
    protocol: Mapping[str, Any],
    content: Mapping[str, str],
    fitted: Mapping[str, Any],
    instances: Sequence[str],
    provenance: Mapping[str, Any],
) -> RunMeta:
    """The record of a run.

    Args:
        config: Its settings.
        entry: Its router, as it was asked for.
        router: The router, opened.
        task: The name that the task gives itself.
        pool_file: What the pool was loaded from: a name, or a ``.yaml`` file.
        concurrency: Episodes at once.
        cards: Cards of the pool's models, by name.
        protocol: The task's protocol.
        content: Hashes of the files that settings name.
        fitted: Router arguments chosen on development episodes.
        instances: Ids of the instances, as far as they are known.
        provenance: Versions and machine that play it.

    Raises:
        MixrouteError: the router fails to say what it was trained with.
    """
    fingerprints = {name: card["fingerprint"] for name, card in cards.items()}
    full, group = run_hash(config, protocol, fingerprints, fitted, content)
    origin = {"pool_file": pool_file} if pool_file.endswith((".yaml", ".yml")) else {}
    return RunMeta(
        schema=SCHEMA,
        id=run_id(config, entry.name, full),
        hash=full,
        group=group,
        label=entry.name,
        task=task,
        split=config.split,
        pool=config.pool,
        router=config.router,
        seed=config.seed,
        config=config.model_dump(),
        content=dict(content),
        protocol=dict(protocol),
        models={name: dict(card) for name, card in cards.items()},
        fitted=dict(fitted),
        instances=list(instances),
        provenance={
            **provenance,
            **origin,
            "concurrency": concurrency,
            "router": source_of(type(router)),
            **trained_with(entry, router),
        },
        curve=entry.curve,
        role=role_of(router),
    )
