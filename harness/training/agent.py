"""``mixroute train agent``: trains weights with a card from a recipe. A stopped training resumes."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from harness.backends.encoding import Encoder
from harness.backends.memory import keep_freed_memory
from harness.config import Strict
from harness.engine.opening import OpenTask, open_instances
from harness.errors import MixrouteError
from harness.files import locked_folder, scratch_folder, write_atomically
from harness.json_files import read_json
from harness.pool import ModelSpec, load_pool
from harness.provenance import provenance
from harness.text import quoted
from harness.traces.contamination import instance_key, trained_on
from harness.training.card import AgentCard, read_card, write_card
from harness.training.checkpoint import atomic_folder
from harness.training.demonstrate import demonstrations, open_lesson
from harness.training.examples import IGNORED, Example, batched, encode
from harness.training.play import DevGames, play_lesson
from harness.training.recipe import AgentRecipe
from harness.training.trainer import AgentTrainer, spec_in_training
from harness.weights.adapters import FILES, merge, weights_folder

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Examples to train on."""

    examples: list[Example]
    trained_on: list[str]
    """Instances that they come from, as named by ``instance_key``."""


def train_agent(recipe: AgentRecipe, folder: Path) -> Path:
    """Train, and write weights and card to ``folder/model``; the same call again resumes.

    Args:
        recipe: Model, data and hyperparameters.
        folder: Working folder: checkpoints and TensorBoard logs (``checkpoints``), and the result (``model``).

    Raises:
        MixrouteError: recipe, data or weights are wrong, or the folder was begun with another recipe.
    """
    spec = _model_of(recipe)
    seen = trained_on(spec)
    lessons = [open_lesson(lesson, seen) for lesson in recipe.lessons]
    dev = [open_instances(entry) for entry in recipe.dev]
    check_disjoint(lessons, dev)
    with locked_workdir(folder, recipe):
        if not (folder / "model" / "card.json").exists():
            player = spec_in_training(spec, recipe.precision)
            training_set = _training_set(recipe, player, lessons, Encoder(tokenizer_of(spec)), folder / "played")
            fine_tune(recipe, spec, training_set, dev, folder)
    return folder / "model"


def fine_tune(
    recipe: AgentRecipe, spec: ModelSpec, training_set: TrainingSet, dev: Sequence[OpenTask], folder: Path
) -> None:
    """Train on ``training_set`` and write ``folder/model``; resumes from the last checkpoint in ``folder``.

    Args:
        recipe: Hyperparameters.
        spec: Model to begin from.
        training_set: Examples to train on.
        dev: Dev games, played during training.
        folder: Working folder.
    """
    batches = batched(training_set.examples, recipe.batch_tokens, recipe.seed)
    games = DevGames(dev, recipe.seed)

    def play(model: nn.Module) -> dict[str, float]:
        with export_for_inference(model, spec, recipe.precision, folder) as player:
            return games.play(player)

    keep_freed_memory()
    torch.manual_seed(recipe.seed)
    trainer = AgentTrainer(trainable_model(recipe, spec), recipe, batches, play, folder)
    tokens = sum(len(example.ids) for example in training_set.examples)
    log.info("%d examples, %d tokens an epoch, %d updates", len(training_set.examples), tokens, trainer.updates)
    checkpoint = last_checkpoint(folder / "checkpoints")
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    model: Any = trainer.model
    with atomic_folder(folder / "model") as result:
        save_weights(model, result)
        history = [entry for entry in trainer.state.log_history if any(key.startswith("eval_") for key in entry)]
        card = AgentCard(
            schema=1,
            name=recipe.name,
            base={**spec.model_dump(include={"weights", "adapter"}), "card": read_card(spec)},
            recipe=recipe.model_dump(by_alias=True),
            examples=len(training_set.examples),
            tokens=tokens,
            learned_tokens=sum(label != IGNORED for example in training_set.examples for label in example.labels),
            updates=trainer.updates,
            seconds=round(trainer.state.log_history[-1]["seconds"]),
            dev=history,
            provenance=provenance(),
        )
        write_card(result, card, [*trained_on(spec), *training_set.trained_on])


def _model_of(recipe: AgentRecipe) -> ModelSpec:
    pool = load_pool(recipe.pool)
    if recipe.model not in pool.models:
        raise MixrouteError(f"pool '{pool.name}' has no model '{recipe.model}': it has {', '.join(pool.models)}")
    spec = pool.models[recipe.model]
    if recipe.start and not (Path(recipe.start) / FILES[0]).exists():
        raise MixrouteError(f"start = {recipe.start}: there is no adapter; train it first, or give another folder")
    return spec.model_copy(update={"adapter": recipe.start})


def check_disjoint(lessons: Sequence[OpenTask], dev: Sequence[OpenTask]) -> None:
    """Refuse dev instances that are trained on.

    Raises:
        MixrouteError: an instance is in both.
    """
    learned = {(opened.task.name, one.id) for opened in lessons for one in opened.instances}
    for opened in dev:
        for one in opened.instances:
            if (opened.task.name, one.id) in learned:
                raise MixrouteError(f"{opened.task.name}: {one.id} is trained on and in dev: take other instances")


@contextmanager
def locked_workdir(folder: Path, recipe: Strict) -> Iterator[None]:
    """Keep a working folder, made if need be, for this process and this recipe until the block ends.

    Raises:
        MixrouteError: another process has it, or it was begun with another recipe.
    """
    with locked_folder(folder):
        _check_recipe(folder, recipe)
        yield


def _check_recipe(folder: Path, recipe: Strict) -> None:
    """Refuse a folder that was begun with another recipe."""
    path = folder / "recipe.json"
    content = recipe.model_dump(mode="json", by_alias=True)
    if path.exists():
        begun: dict[str, Any] = read_json(path, dict[str, Any], "use another --out")
        for key in [key for key in content if begun.get(key) != content[key]]:
            raise MixrouteError(
                f"{folder} was begun with {key} = {quoted(begun.get(key))}, the recipe now has {quoted(content[key])}: "
                "use another --out"
            )
        return
    write_atomically(path, json.dumps(content, indent=1).encode())


def _training_set(
    recipe: AgentRecipe, spec: ModelSpec, lessons: Sequence[OpenTask], encoder: Encoder, played: Path
) -> TrainingSet:
    examples: list[Example] = []
    seen: list[str] = []
    for lesson, opened in zip(recipe.lessons, lessons, strict=True):
        before, too_long = len(examples), 0
        episodes = play_lesson(recipe, spec, lesson, opened, played) if lesson.takeover else None
        for shown in demonstrations(lesson, opened, recipe.seed, episodes):
            example = encode(shown, opened.task, encoder)
            if len(example.ids) > recipe.longest:
                too_long += 1
            elif any(label != IGNORED for label in example.labels):
                examples.append(example)
                seen.append(instance_key(opened.task.name, shown.instance.id))
        log.info(
            "%s/%s: %d examples of %d instances, %d left out as too long",
            lesson.task, lesson.split, len(examples) - before, len(opened.instances), too_long,
        )  # fmt: skip
    if not examples:
        raise MixrouteError(f"recipe '{recipe.name}' has no example to learn from: check the limits of its lessons")
    return TrainingSet(examples, seen)


def _base_of(spec: ModelSpec) -> str | Path:
    """Weights that the adapter extends."""
    return weights_folder(spec.model_copy(update={"adapter": None}))


def tokenizer_of(spec: ModelSpec) -> PreTrainedTokenizerBase:
    """The model's tokenizer."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(_base_of(spec))
    return tokenizer


def trainable_model(recipe: AgentRecipe, spec: ModelSpec) -> nn.Module:
    """The model to train: float32 weights, with adapters if the recipe has them."""
    from peft import LoraConfig, PeftModel, get_peft_model

    base = _base_of(spec)
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        base if recipe.lora else weights_folder(spec), dtype=torch.float32
    )
    if recipe.lora is None:
        return model
    if spec.adapter:
        return PeftModel.from_pretrained(model, str(spec.adapter), is_trainable=True)
    config = LoraConfig(
        r=recipe.lora.rank, lora_alpha=recipe.lora.alpha, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    return get_peft_model(model, config)


@contextmanager
def export_for_inference(model: nn.Module, spec: ModelSpec, precision: str, folder: Path) -> Iterator[ModelSpec]:
    """Export the model in training as one that a backend can load, until the block ends.

    Args:
        model: Model that ``trainable_model`` returned.
        spec: Model that training began from.
        precision: The recipe's precision.
        folder: Folder for the temporary weights.
    """
    with scratch_folder(folder) as scratch:
        weights = scratch / "weights"
        save_weights(model, weights)
        if (weights / FILES[0]).exists():
            merge(_base_of(spec), weights, scratch / "merged")
            weights = scratch / "merged"
        options = spec_in_training(spec, precision).options
        yield ModelSpec(weights=str(weights), backend=spec.backend, options=options)


def save_weights(model: Any, folder: Path) -> None:  # noqa: ANN401 - a model or peft's wrapper
    """Write adapter or weights in bfloat16, without the files that only a model hub reads."""
    state = {name: tensor.detach().to(torch.bfloat16).contiguous() for name, tensor in model.state_dict().items()}
    model.save_pretrained(folder, state_dict=state)
    (folder / "README.md").unlink(missing_ok=True)
    if not (folder / FILES[0]).exists():
        AutoTokenizer.from_pretrained(model.name_or_path).save_pretrained(folder)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint; incomplete ones, which lack the state file that is written last, are deleted."""
    complete = [path.parent for path in folder.glob("checkpoint-*/trainer_state.json")]
    for path in folder.glob("checkpoint-*"):
        if path not in complete:
            shutil.rmtree(path)
    return max(complete, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
