"""``mixroute train dmr``: stage two over a grid of lambda and K, so that the result is a curve."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from harness.backends.completion_cache import CompletionCache
from harness.contracts import Backend
from harness.engine.opening import OpenTask, open_instances, open_models
from harness.errors import MixrouteError
from harness.provenance import provenance
from harness.seeding import seed_for
from harness.traces.contamination import instance_key
from harness.training.play import draw_instances, play_episodes
from harness.training.splits import open_training_tasks
from harness.training.state import resume, save_state, scalars
from routers.dmr.checkpoint import DmrCard, find_checkpoint, load_checkpoint, save_checkpoint
from routers.dmr.data import readers_of
from routers.dmr.grpo import Grpo
from routers.dmr.kl_sft import train_kl_sft
from routers.dmr.network import RouterNetwork
from routers.dmr.recipe import DmrRecipe, training_pool
from routers.dmr.router import LearnedRouter

log = logging.getLogger(__name__)


def train_dmr(recipe: DmrRecipe, folder: Path) -> list[Path]:
    """Train a router for each lambda and K of the recipe; a second call resumes.

    Returns:
        Folders of the checkpoints.

    Raises:
        MixrouteError: the reasons of ``train_kl_sft``, or the pool cannot be loaded.
    """
    rates = recipe.grpo.rates if recipe.grpo.start == "kl-sft" else [None]
    made = {(rate, price): folder / "dmr" / _name(rate, price) for rate in rates for price in recipe.grpo.lambdas}
    missing = {point: target for point, target in made.items() if not (target / "card.json").exists()}
    if missing:
        initial = _initial_checkpoints(recipe, folder)
        tasks = open_training_tasks(recipe)
        dev = [open_instances(entry) for entry in recipe.dev]
        training = training_pool(recipe)
        with open_models(training, recipe.mode, CompletionCache()) as pool:
            for (rate, price), target in missing.items():
                _train(recipe, initial[rate], price, target, tasks, dev, pool, readers_of(training))
    return list(made.values())


def _initial_checkpoints(recipe: DmrRecipe, folder: Path) -> dict[float | None, Path | None]:
    """Initial checkpoints, by K if they are this recipe's stage one; None for random weights."""
    if recipe.grpo.start == "kl-sft":
        return dict(train_kl_sft(recipe, folder).items())
    if recipe.grpo.start == "nothing":
        return {None: None}
    found = find_checkpoint(recipe.grpo.start)
    _, card, _ = load_checkpoint(found)
    if card.network != recipe.network:
        raise MixrouteError(
            f"recipe '{recipe.name}': grpo.start '{recipe.grpo.start}' is a network with {card.network.model_dump()}: "
            "give the recipe's 'network' these values"
        )
    return {None: found}


def _name(rate: float | None, price: float) -> str:
    return f"lambda{price:g}" + ("" if rate is None else f"-k{round(100 * rate)}")


def _train(
    recipe: DmrRecipe,
    start: Path | None,
    price: float,
    target: Path,
    tasks: Sequence[OpenTask],
    dev: Sequence[OpenTask],
    pool: Mapping[str, Backend],
    readers: Sequence[str],
) -> None:
    before: frozenset[str] = frozenset()
    if start is None:
        torch.manual_seed(seed_for(recipe.seed, "grpo"))
        network = RouterNetwork(recipe.network)
    else:
        network, _, before = load_checkpoint(start)
        with torch.no_grad():
            network.head.bias.sub_(math.log(recipe.grpo.threshold / (1 - recipe.grpo.threshold)))
    policy = Grpo(network, recipe.grpo, price, readers)
    working = target.with_name(f".{target.name}")
    played = [
        replace(opened, instances=draw_instances(opened.instances, recipe.grpo.distinct, recipe.seed))
        for opened in tasks
    ]
    trained = network.state_dict()
    history = resume(working, trained, policy.optimizer)
    writer = scalars(working)
    for iteration in range(len(history), recipe.grpo.iterations):
        # Every lambda has the same draws, so that only the reward differs and more completions come from the cache.
        figures = policy.iterate(played, pool, seed_for(recipe.seed, iteration))
        history.append(figures)
        for key, value in figures.items():
            writer.add_scalar(key, value, iteration)
        save_state(working, trained, policy.optimizer, history)
        log.info("lambda %g, iteration %d: %s", price, iteration + 1, {key: round(v, 3) for key, v in figures.items()})
    writer.close()
    card = DmrCard(
        schema=1,
        name=recipe.name,
        stage="dmr",
        network=recipe.network,
        kv_cache=training_pool(recipe).kv_cache,
        recipe=recipe.model_dump(mode="json", by_alias=True),
        pool={name: model.card().fingerprint for name, model in pool.items()},
        facts={
            "lambda": price,
            "start": None if start is None else start.name,
            "dev": [_dev(policy.network, opened, pool) for opened in dev],
            "history": history,
        },
        provenance=provenance(),
    )
    seen = [instance_key(opened.task.name, one.id) for opened in tasks for one in opened.instances]
    save_checkpoint(target, policy.network, card, before.union(seen))


def _dev(network: RouterNetwork, opened: OpenTask, pool: Mapping[str, Backend]) -> dict[str, Any]:
    """Metrics of the network on dev games, with the likelier choice at each step."""
    episodes = play_episodes(opened, LearnedRouter(network), pool, 0)
    return {
        "task": opened.task.name,
        "episodes": len(episodes),
        "success": fmean(episode.success for episode in episodes),
        "high_share": fmean(episode.high_share for episode in episodes),
    }
