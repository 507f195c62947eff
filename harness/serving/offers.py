"""The models that a server offers: the router, and each model of the pool by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from harness import registry
from harness.contracts import Backend, Calibrated, Environment, Router
from harness.data import Instance, Observation, Prompt, Turn
from harness.engine.answering import Play
from harness.engine.answers import cards_of, fitted_by, trained_on
from harness.engine.identity import router_files
from harness.engine.meta import run_meta
from harness.errors import MixrouteError
from harness.files import name_without_folder
from harness.plugins import complete_arguments, open_router
from harness.pool import Pool
from harness.provenance import provenance
from harness.records import OUTCOME, UNKNOWN, RunMeta
from harness.serving.settings import Settings
from harness.suite import RouterEntry, RunConfig, parse_router
from harness.traces.contamination import seen_by
from harness.traces.training_pool import other_pool_note

JUDGED, UNJUDGED = "judged", "unjudged"
"""Splits of the recorded sessions: those whose client posted an outcome, and the others."""


@dataclass(slots=True)
class ServedTask:
    """The task of a session, which its client plays. The prompts are the client's, and so are the actions: an action is
    the reply.
    """

    name: str
    stop: tuple[str, ...] = ()
    max_tokens: int = 1
    split: str = UNJUDGED
    blocking: bool = False
    step_cap: int = 1 << 40

    def instances(self) -> Sequence[Instance]:
        """None: sessions begin when clients ask."""
        return ()

    def open(self, instance: Instance) -> Environment:
        """Refuse: the client has the environment."""
        raise NotImplementedError

    def prompt(self, turns: Sequence[Turn], observation: Observation) -> Prompt:
        """Refuse: the client writes the prompts."""
        raise NotImplementedError

    def parse_action(self, text: str) -> str:
        """The reply without white space around it."""
        return text.strip()

    def is_success(self, score: float) -> bool:
        """Whether the score that the client posted is 1 or more."""
        return score >= 1

    def protocol(self) -> Mapping[str, Any]:
        """What is known of how sessions are played."""
        told = "posted by the client" if self.split == JUDGED else UNKNOWN
        return {"task": self.name, "played_by": "the client", OUTCOME: told}


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """What clients may ask for."""

    name: str
    """The first of its names."""
    play: Play
    metas: Mapping[str, RunMeta]
    """What is recorded of it, by split."""
    seen: frozenset[str]
    """Instances that its models or its router were trained on."""


def open_offers(settings: Settings, pool: Pool, models: Mapping[str, Backend]) -> dict[str, Offer]:
    """The router of the settings and the models of the pool, by the names under which they are offered.

    Args:
        settings: What is served.
        pool: The pool.
        models: Its models, loaded.

    Raises:
        MixrouteError: unknown router or argument, a router that must be calibrated first, or one with the name of a
            model.
    """
    routing = parse_router(settings.router)
    name = name_without_folder(routing.router)
    if name in models:
        raise MixrouteError(
            f"--router {name}: the pool has a model of this name, so that clients could not ask for the router: rename "
            "the model in the pool file"
        )
    made = partial(_offer, settings, pool, models, cards_of(models), seen_by(pool))
    offers = {name: made(name, routing)}
    for model in models:
        own = made(model, _alone(model))
        # With --router always-low, model low is the router under another name: one run, in one folder.
        is_router = own.metas[JUDGED].hash == offers[name].metas[JUDGED].hash
        offers[model] = offers[name] if is_router else own
    return offers


def check_router(settings: Settings) -> None:
    """Open the router, so that what is wrong with it is told before models are loaded.

    Raises:
        MixrouteError: as ``open_offers``.
    """
    _open(parse_router(settings.router))


def _alone(model: str) -> RouterEntry:
    """The router that always asks a model: the reference of the board, where there is one of this name."""
    own = f"always-{model}"
    return (
        RouterEntry(router=own)
        if own in registry.routers.names()
        else RouterEntry(router="always", args={"model": model})
    )


def _open(entry: RouterEntry) -> tuple[Router, dict[str, Any]]:
    """A router, and the arguments that it fits without episodes."""
    router = open_router(entry.router, **entry.args)
    fitted = fitted_by(entry, router, ()) if isinstance(router, Calibrated) else {}
    return (open_router(entry.router, **{**entry.args, **fitted}) if fitted else router), fitted


def _offer(
    settings: Settings,
    pool: Pool,
    models: Mapping[str, Backend],
    cards: Mapping[str, Mapping[str, Any]],
    seen: frozenset[str],
    name: str,
    entry: RouterEntry,
) -> Offer:
    router, fitted = _open(entry)
    metas = {}
    for split in (JUDGED, UNJUDGED):
        config = RunConfig(
            task=settings.name,
            task_args={},
            split=split,
            limit=None,
            pool=pool.name,
            router=name_without_folder(entry.router),
            router_args=complete_arguments(registry.routers, entry.router, entry.args),
            seed=settings.seed,
            mode=settings.mode,
            temperature=settings.temperature,
            kv_cache=pool.kv_cache,
        )
        metas[split] = run_meta(
            config,
            entry,
            router,
            task=settings.name,
            pool_file=settings.pool,
            concurrency=settings.running,
            cards=cards,
            protocol=ServedTask(settings.name, split=split).protocol(),
            content=dict(sorted(router_files(entry, router).items())),
            fitted=fitted,
            instances=(),
            provenance=provenance(),
        )
    play = Play(
        run=metas[UNJUDGED].hash,
        seed=settings.seed,
        temperature=settings.temperature,
        task=ServedTask(settings.name),
        router=router,
        pool=models,
        router_timeout=settings.router_timeout,
        environment_timeout=settings.model_timeout,
        sharing=pool.kv_cache,
    )
    return Offer(name, play, metas, seen | trained_on(entry, router))


def notes_of(offers: Mapping[str, Offer]) -> list[str]:
    """Remarks on what is offered, such as on a router that was trained with another pool."""
    found = {name: other_pool_note(offer.metas[UNJUDGED]) for name, offer in offers.items()}
    return [f"{name}: {note}" for name, note in found.items() if note]
