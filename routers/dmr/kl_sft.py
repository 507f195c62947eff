"""Stage one (KL-SFT): predicts which steps are sensitive to precision, with class-weighted cross-entropy.

Paper: both models run at a step, and it is sensitive if the KL of their action distributions is at least tau. Ours:
tau is the quantile of all labelled steps above which a share K of them lies; the positive class has weight N- / N+.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from sklearn.metrics import roc_auc_score
from torch.nn.functional import binary_cross_entropy_with_logits

from harness.backends.completion_cache import CompletionCache
from harness.contracts import Backend
from harness.engine.executor import Executor
from harness.engine.opening import open_models
from harness.errors import MixrouteError
from harness.provenance import provenance
from harness.seeding import seed_for
from harness.traces.contamination import instance_key
from harness.traces.store import read_meta
from harness.training.splits import open_training_tasks
from routers.dmr.checkpoint import DmrCard, save_checkpoint
from routers.dmr.data import LabelledEpisode, labelled_episodes, padded, readers_of
from routers.dmr.label import StepLabel, label
from routers.dmr.network import RouterNetwork
from routers.dmr.recipe import DmrRecipe, KlSftRecipe, Label, training_pool

log = logging.getLogger(__name__)

Target = tuple[LabelledEpisode, list[float]]
"""An episode, and for each step 1 if it is sensitive, 0 if not, NaN if unknown."""


def train_kl_sft(recipe: DmrRecipe, folder: Path, executor: Executor | None = None) -> dict[float, Path]:
    """Label, then train a network for each rate K; existing labels and checkpoints are kept.

    Args:
        recipe: What to learn from, and how.
        folder: Working folder of the recipe.
        executor: What plays; this process if not given.

    Returns:
        Folders of the checkpoints, by rate.

    Raises:
        MixrouteError: the reasons of ``label``, or all labels are equal.
    """
    made = {rate: folder / "kl-sft" / f"k{round(100 * rate)}" for rate in recipe.kl_sft.rates}
    missing = [rate for rate, path in made.items() if not (path / "card.json").exists()]
    if not missing:
        return made
    runs = label(recipe, folder, executor)
    seen = [instance_key(read_meta(run).task, name) for run in runs for name in read_meta(run).instances]
    data = _labelled(recipe, runs)
    for rate in missing:
        wanted, tau = targets(data, recipe.kl_sft, rate)
        torch.manual_seed(seed_for(recipe.seed, "kl-sft", rate))
        network = RouterNetwork(recipe.network)
        figures = fit(network, wanted, recipe.kl_sft, recipe.seed)
        log.info("kl-sft, K = %g: %s", rate, figures)
        card = DmrCard(
            schema=1,
            name=recipe.name,
            stage="kl-sft",
            network=recipe.network,
            kv_cache=training_pool(recipe).kv_cache,
            recipe=recipe.model_dump(mode="json", by_alias=True),
            pool=fingerprints(runs),
            facts={"rate": rate, "tau": tau, "held_out": figures},
            provenance=provenance(),
        )
        save_checkpoint(made[rate], network, card, seen)
    return made


def _labelled(recipe: DmrRecipe, runs: Sequence[Path]) -> list[LabelledEpisode]:
    tasks = {(one.task.name, one.entry.split): one.task for one in open_training_tasks(recipe)}
    with ExitStack() as stack:
        reading: Mapping[str, Backend] = {}
        if recipe.network.reads == "hidden":
            pool = training_pool(recipe)
            only = pool.with_models({name: pool.models[name] for name in readers_of(pool)})
            reading = stack.enter_context(open_models(only, recipe.mode, CompletionCache()))
        found = []
        for run in runs:
            meta = read_meta(run)
            found += labelled_episodes(run, tasks[meta.task, meta.split], recipe.network, reading)
    return found


def fingerprints(runs: Sequence[Path]) -> dict[str, str]:
    """Fingerprints of the models that played."""
    return {name: str(card["fingerprint"]) for name, card in read_meta(runs[0]).models.items()}


def targets(data: Sequence[LabelledEpisode], options: KlSftRecipe, rate: float) -> tuple[list[Target], float | None]:
    """Training targets, and tau if the kind of label has a threshold.

    Raises:
        MixrouteError: no step has a label of this kind, or all labels are equal.
    """
    kind = options.label
    values = [[_value(step, kind) for step in one.labels] for one in data]
    known = sorted(value for row in values for value in row if not math.isnan(value))
    if not known:
        raise MixrouteError(
            f"no step has a label of kind '{kind}': label anew ('choice' with 'choices: true'), or use another"
        )
    tau = None
    if kind in ("kl", "reply", "choice"):
        tau = known[min(len(known) - 1, int((1 - rate) * len(known)))]
        values = [[value if math.isnan(value) else float(value >= tau) for value in row] for row in values]
    if options.unrecoverable_steps == "low":
        values = [
            [
                0.0 if place >= one.unrecoverable_from and not math.isnan(value) else value
                for place, value in enumerate(row)
            ]
            for one, row in zip(data, values, strict=True)
        ]
    if len({value for row in values for value in row if not math.isnan(value)}) < 2:
        raise MixrouteError(f"label '{kind}' is the same at all {len(known)} steps: label more instances")
    return list(zip(data, values, strict=True)), tau


def _value(step: StepLabel, kind: Label) -> float:
    found = {
        "kl": step.kl,
        "reply": step.reply,
        "choice": step.choice,
        "agreement": not step.agree,
        "flip": step.flip,
    }[kind]
    return math.nan if found is None else float(found)


def fit(network: RouterNetwork, data: Sequence[Target], options: KlSftRecipe, seed: int) -> dict[str, float]:
    """Train in place and keep the epoch with the best AUC on held-out instances; returns the metrics of that epoch."""
    known = [value for _, row in data for value in row if not math.isnan(value)]
    weight = torch.tensor((len(known) - sum(known)) / sum(known))
    held = [one for one in data if seed_for(seed, one[0].instance) % 1000 < 1000 * options.held_out]
    learned = [one for one in data if one not in held]
    optimizer = torch.optim.AdamW(network.parameters(), options.learning_rate)
    best = {"auc": -1.0}
    kept = network.state_dict()
    for epoch in range(1, options.epochs + 1):
        network.train()
        random.Random(seed_for(seed, "epoch", epoch)).shuffle(learned)  # noqa: S311 - reproducible on purpose
        for start in range(0, len(learned), options.batch):
            batch = learned[start : start + options.batch]
            logits = network([one.trajectory for one, _ in batch])
            target = padded([torch.tensor(row) for _, row in batch], logits.shape[1])
            counts = padded([torch.ones(len(row)) for _, row in batch], logits.shape[1]) * ~target.isnan()
            loss = binary_cross_entropy_with_logits(logits, target.nan_to_num(), counts, pos_weight=weight)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        figures = {"epoch": float(epoch), **_measure(network, held)}
        if figures["auc"] > best["auc"]:
            best, kept = figures, {key: tensor.clone() for key, tensor in network.state_dict().items()}
    network.load_state_dict(kept)
    return best


@torch.inference_mode()
def _measure(network: RouterNetwork, data: Sequence[Target]) -> dict[str, float]:
    """AUC, the share of sensitive steps, and the share of steps that the network calls sensitive.

    ``found_by_20%`` and the like do not depend on the kind of label: of the steps where the models' actions differ and
    the episode can still be won, the share among the 20% that the network scores highest.
    """
    network.eval()
    scored: list[tuple[float, bool]] = []
    recoverable_scores: list[tuple[float, bool]] = []
    for one, row in data:
        chances = torch.sigmoid(network([one.trajectory])[0]).tolist()
        scored += [(chance, value > 0) for chance, value in zip(chances, row, strict=True) if not math.isnan(value)]
        recoverable_scores += [
            (chance, not label.agree)
            for chance, label in list(zip(chances, one.labels, strict=True))[: one.unrecoverable_from]
        ]
    scores, truth = [score for score, _ in scored], [true for _, true in scored]
    if len(set(truth)) < 2:
        raise MixrouteError(f"the {len(data)} instances held out have one kind of step only: label more instances")
    return {
        "auc": float(roc_auc_score(truth, scores)),
        "steps": float(len(truth)),
        "sensitive": sum(truth) / len(truth),
        "called_sensitive": sum(score >= 0.5 for score in scores) / len(scores),
        **{f"found_by_{share:.0%}": _recall(recoverable_scores, share) for share in (0.2, 0.3, 0.4)},
    }


def _recall(scored: Sequence[tuple[float, bool]], share: float) -> float:
    """Recall of the true ones among the given share of all that scores highest; 1 if none is true."""
    ordered = sorted(scored, key=lambda one: -one[0])
    true = sum(truth for _, truth in scored)
    return sum(truth for _, truth in ordered[: round(share * len(ordered))]) / true if true else 1.0
