"""``mixroute train relay``: warm-up, then GRPO. The result is an adapter with its card, and a pool that names it."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from harness.backends.completion_cache import CompletionCache
from harness.backends.encoding import Encoder
from harness.contracts import Backend
from harness.engine.opening import OpenTask, open_models
from harness.plugins import open_router
from harness.pool import ModelSpec, Pool, load_pool, open_backend, save_pool
from harness.provenance import provenance
from harness.seeding import seed_for
from harness.traces.contamination import instance_key, trained_on
from harness.training.agent import (
    export_for_inference,
    fine_tune,
    locked_workdir,
    save_weights,
    tokenizer_of,
    trainable_model,
)
from harness.training.card import RouterCard, read_card, write_card
from harness.training.checkpoint import atomic_folder
from harness.training.play import play_episodes
from harness.training.splits import open_train_and_dev
from harness.training.state import resume, save_state, scalars
from harness.training.trainer import computes_in_bfloat16, spec_in_training
from routers.relay.grpo import Grpo, roll_out
from routers.relay.recipe import RELAY, RelayRecipe
from routers.relay.router import Relay
from routers.relay.training_data import solved_by_large, warm_up_set

log = logging.getLogger(__name__)

POOL = "pool.yaml"


def train_relay(recipe: RelayRecipe, folder: Path) -> Path:
    """Train what is not trained yet.

    Args:
        recipe: Pool, data and hyperparameters.
        folder: Working folder: answers and their runs (``sampled``, ``solved``), ``warm-up``, ``grpo``, ``checkpoint``.

    Returns:
        The pool file in ``checkpoint``: the recipe's pool, and the trained model as ``relay``.

    Raises:
        MixrouteError: recipe or pool are wrong, or there is nothing to learn from.
    """
    small, _ = recipe.specs()
    made = folder / "checkpoint"
    tasks, dev = open_train_and_dev(recipe)
    with locked_workdir(folder, recipe):
        if not (made / "card.json").exists():
            warm = _warm_up(recipe, small, tasks, dev, folder)
            prompts = solved_by_large(recipe, tasks, folder / "solved") if recipe.grpo.iterations else []
            _train(recipe, small.model_copy(update={"adapter": str(warm)}), tasks, prompts, dev, folder)
    return made / POOL


def _warm_up(
    recipe: RelayRecipe, small: ModelSpec, tasks: Sequence[OpenTask], dev: Sequence[OpenTask], folder: Path
) -> Path:
    """Train the warm-up if it is missing; returns the folder of its adapter."""
    made = folder / "warm-up" / "model"
    if not (made / "card.json").exists():
        training_set = warm_up_set(recipe, tasks, tokenizer_of(small), folder / "sampled")
        (folder / "warm-up").mkdir(exist_ok=True)
        fine_tune(recipe.warm_up_recipe(small), small, training_set, dev, folder / "warm-up")
    return made


def _train(
    recipe: RelayRecipe,
    warm: ModelSpec,
    tasks: Sequence[OpenTask],
    prompts: Sequence[OpenTask],
    dev: Sequence[OpenTask],
    folder: Path,
) -> None:
    pool = load_pool(recipe.pool)
    adapter, history = _reinforce(recipe, warm, pool, prompts, folder / "grpo")
    playing = {name: pool.models[name] for name in (recipe.small, recipe.large)}
    playing[RELAY] = warm.model_copy(update={"adapter": str(adapter)})
    with open_models(_only(pool, playing, recipe), recipe.mode, CompletionCache()) as models:
        facts = {
            "prompts": sum(len(opened.instances) for opened in tasks),
            "solved by large": sum(len(opened.instances) for opened in prompts) if prompts else None,
            "warm-up": read_card(warm),
            "history": history,
            "dev": [_dev(recipe, opened, models) for opened in dev],
        }
        prints = {name: backend.card().fingerprint for name, backend in models.items()}
    card = RouterCard(
        schema=1,
        name=recipe.name,
        recipe=recipe.model_dump(mode="json", by_alias=True),
        pool=prints,
        facts=facts,
        provenance=provenance(),
    )
    own = {instance_key(opened.task.name, one.id) for opened in tasks for one in opened.instances}
    description = f"Pool {recipe.pool}, and model {recipe.small} trained to call {recipe.large}: recipe {recipe.name}."
    with atomic_folder(folder / "checkpoint") as made:
        shutil.copytree(adapter, made, dirs_exist_ok=True)
        write_card(made, card, own | trained_on(warm))
        models_with_relay = {**pool.models, RELAY: warm.model_copy(update={"adapter": str(made)})}
        save_pool(made / POOL, recipe.name, description, models_with_relay, pool.kv_cache)


def _reinforce(
    recipe: RelayRecipe, warm: ModelSpec, pool: Pool, prompts: Sequence[OpenTask], working: Path
) -> tuple[Path, list[dict[str, float]]]:
    """Run the iterations of GRPO that are missing, from the model after warm-up.

    Returns:
        The folder of the adapter, and the metrics of each iteration.
    """
    torch.manual_seed(recipe.seed)
    model = trainable_model(recipe.warm_up_recipe(warm), warm).to("cuda" if torch.cuda.is_available() else "cpu")
    policy = Grpo(model, recipe.grpo, bfloat16=computes_in_bfloat16(recipe.precision))
    encoder = Encoder(tokenizer_of(warm))
    working.mkdir(exist_ok=True)
    history = resume(working, policy.trained, policy.optimizer)
    writer = scalars(working)
    left = range(len(history), recipe.grpo.iterations)
    asked = _only(pool, {recipe.large: pool.models[recipe.large]} if left else {}, recipe)
    with open_models(asked, recipe.mode, None) as models:  # samples are never requested twice, so no completion cache
        for iteration in left:
            seed = seed_for(recipe.seed, iteration)
            with export_for_inference(policy.model, warm, recipe.precision, working) as player:
                backend = open_backend(RELAY, player, deterministic=recipe.mode == "deterministic")
                try:
                    rollouts, figures = roll_out(recipe, prompts, {**models, RELAY: backend}, encoder, seed)
                finally:
                    backend.close()
            figures |= policy.update(rollouts, seed)
            history.append(figures)
            for key, value in figures.items():
                writer.add_scalar(key, value, iteration)
            save_state(working, policy.trained, policy.optimizer, history)
            log.info("iteration %d: %s", iteration + 1, {key: round(value, 4) for key, value in figures.items()})
    writer.close()
    adapter = working / "adapter"
    save_weights(policy.model, adapter)
    return adapter, history


def _only(pool: Pool, models: Mapping[str, ModelSpec], recipe: RelayRecipe) -> Pool:
    """The pool with these models alone, in the type that they compute in during training."""
    return pool.with_models({name: spec_in_training(spec, recipe.precision) for name, spec in models.items()})


def _dev(recipe: RelayRecipe, opened: OpenTask, models: Mapping[str, Backend]) -> dict[str, Any]:
    """Metrics on dev, greedy, of the trained model and of both models alone."""
    relayed = play_episodes(opened, Relay(RELAY, recipe.large, recipe.calls), models, 0)
    alone = {
        name: play_episodes(opened, open_router("always", model=name), models, 0)
        for name in (recipe.small, recipe.large)
    }
    steps = [episode.steps[0] for episode in relayed if episode.steps and not episode.error]
    return {
        "task": opened.task.name,
        "episodes": len(relayed),
        "success": fmean(episode.success for episode in relayed),
        "success alone": {name: fmean(episode.success for episode in found) for name, found in alone.items()},
        "call_ratio": fmean(step.share_of(recipe.large) for step in steps) if steps else None,
        "calls": fmean(step.scores["calls"] for step in steps) if steps else None,
    }
