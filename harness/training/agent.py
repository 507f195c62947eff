"""``mixroute train agent``: from a recipe to weights with a card. Stopped at any moment, it goes on where it was."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from harness.backends.encoding import Encoder
from harness.backends.memory import keep_freed_memory
from harness.config import Strict
from harness.engine.opening import OpenTask, open_instances
from harness.errors import MixrouteError
from harness.files import write_atomically
from harness.pool import ModelSpec, load_pool
from harness.provenance import provenance
from harness.traces.contamination import instance_key, trained_on
from harness.training.card import Card, read_card, write_card
from harness.training.demonstrate import demonstrations, open_lesson
from harness.training.examples import IGNORED, Example, batched, encode
from harness.training.play import DevGames, played_by_model
from harness.training.recipe import AgentRecipe
from harness.training.trainer import AgentTrainer, spec_in_training
from harness.weights.adapters import FILES, merge, weights_folder

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Material:
    """What is learned from."""

    examples: list[Example]
    seen: list[str]
    """Instances, as ``instance_key`` names them."""


def train_agent(recipe: AgentRecipe, folder: Path) -> Path:
    """Train, and write weights and card to ``folder/model``; the same call again resumes.

    Args:
        recipe: What to do.
        folder: Holds checkpoints and TensorBoard logs (``checkpoints``) and, in the end, the result.

    Raises:
        MixrouteError: anything in recipe, data or weights that keeps it from training, or a folder of another recipe.
    """
    spec = _model_of(recipe)
    seen = trained_on(spec)
    lessons = [open_lesson(lesson, seen) for lesson in recipe.lessons]
    dev = [open_instances(entry) for entry in recipe.dev]
    check_apart(lessons, dev)
    with claimed(folder, recipe):
        if not (folder / "model" / "card.json").exists():
            player = spec_in_training(spec, recipe.precision)
            material = _material(recipe, player, lessons, Encoder(tokenizer_of(spec)), folder / "played")
            learn(recipe, spec, material, dev, folder)
    return folder / "model"


def learn(recipe: AgentRecipe, spec: ModelSpec, material: Material, dev: Sequence[OpenTask], folder: Path) -> None:
    """Train on ``material`` and write ``folder/model``; goes on from the last checkpoint in ``folder``.

    Args:
        recipe: How to train.
        spec: The model to begin from.
        material: What to learn from.
        dev: Played in the course of it.
        folder: Working folder.
    """
    batches = batched(material.examples, recipe.batch_tokens, recipe.seed)
    games = DevGames(dev, recipe.seed)

    def play(model: nn.Module) -> dict[str, float]:
        with playable(model, spec, recipe.precision, folder) as player:
            return games.play(player)

    keep_freed_memory()
    torch.manual_seed(recipe.seed)
    trainer = AgentTrainer(prepared(recipe, spec), recipe, batches, play, folder)
    tokens = sum(len(example.ids) for example in material.examples)
    log.info("%d examples, %d tokens an epoch, %d updates", len(material.examples), tokens, trainer.updates)
    checkpoint = last_checkpoint(folder / "checkpoints")
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    model: Any = trainer.model
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        result = Path(scratch) / "model"
        save_weights(model, result)
        history = [entry for entry in trainer.state.log_history if any(key.startswith("eval_") for key in entry)]
        card = Card(
            schema=1,
            name=recipe.name,
            base={**spec.model_dump(include={"weights", "adapter"}), "card": read_card(spec)},
            recipe=recipe.model_dump(by_alias=True),
            examples=len(material.examples),
            tokens=tokens,
            learned_tokens=sum(label != IGNORED for example in material.examples for label in example.labels),
            updates=trainer.updates,
            seconds=round(trainer.state.log_history[-1]["seconds"]),
            dev=history,
            provenance=provenance(),
        )
        write_card(result, card, [*trained_on(spec), *material.seen])
        result.replace(folder / "model")


def _model_of(recipe: AgentRecipe) -> ModelSpec:
    pool = load_pool(recipe.pool)
    if recipe.model not in pool.models:
        raise MixrouteError(f"pool '{pool.name}' has no model '{recipe.model}': it has {', '.join(pool.models)}")
    spec = pool.models[recipe.model]
    if recipe.start and not (Path(recipe.start) / FILES[0]).exists():
        raise MixrouteError(f"start = {recipe.start}: there is no adapter; train it first, or give another folder")
    return spec.model_copy(update={"adapter": recipe.start})


def check_apart(lessons: Sequence[OpenTask], dev: Sequence[OpenTask]) -> None:
    """Refuse dev instances that are trained on.

    Raises:
        MixrouteError: there is one.
    """
    learned = {(opened.task.name, one.id) for opened in lessons for one in opened.instances}
    for opened in dev:
        for one in opened.instances:
            if (opened.task.name, one.id) in learned:
                raise MixrouteError(f"{opened.task.name}: {one.id} is trained on and in dev: take other instances")


@contextmanager
def claimed(folder: Path, recipe: Strict) -> Iterator[None]:
    """Keep a working folder, made if need be, for this process and this recipe until the block ends.

    Raises:
        MixrouteError: another process has it, or it was begun with another recipe.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock").acquire(timeout=0):
            _claim(folder, recipe)
            yield
    except Timeout:
        raise MixrouteError(f"{folder} is in use by another mixroute process: wait, or use another --out") from None


def _claim(folder: Path, recipe: Strict) -> None:
    """One folder, one recipe: what was begun with another may not be finished with this one."""
    path = folder / "recipe.json"
    content = recipe.model_dump(mode="json", by_alias=True)
    if path.exists():
        begun = json.loads(path.read_text(encoding="utf-8"))
        for key in [key for key in content if begun.get(key) != content[key]]:
            raise MixrouteError(
                f"{folder} was begun with {key} = {begun.get(key)!r}, the recipe now has {content[key]!r}: "
                "use another --out"
            )
        return
    write_atomically(path, json.dumps(content, indent=1).encode())


def _material(
    recipe: AgentRecipe, spec: ModelSpec, lessons: Sequence[OpenTask], encoder: Encoder, played: Path
) -> Material:
    examples: list[Example] = []
    seen: list[str] = []
    for lesson, opened in zip(recipe.lessons, lessons, strict=True):
        before, too_long = len(examples), 0
        episodes = played_by_model(recipe, spec, lesson, opened, played) if lesson.takeover else None
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
        raise MixrouteError(f"recipe '{recipe.name}' gives nothing to learn: check its lessons' limits and traces")
    return Material(examples, seen)


def _base_of(spec: ModelSpec) -> str | Path:
    """The weights under the adapter."""
    return weights_folder(spec.model_copy(update={"adapter": None}))


def tokenizer_of(spec: ModelSpec) -> PreTrainedTokenizerBase:
    """The model's tokenizer."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(_base_of(spec))
    return tokenizer


def prepared(recipe: AgentRecipe, spec: ModelSpec) -> nn.Module:
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
def playable(model: nn.Module, spec: ModelSpec, precision: str, folder: Path) -> Iterator[ModelSpec]:
    """The model in training as one that can be played, until the block ends.

    Args:
        model: Of ``prepared``.
        spec: What it began from.
        precision: Of the recipe.
        folder: Where its weights are written meanwhile.
    """
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        weights = Path(scratch) / "weights"
        save_weights(model, weights)
        if (weights / FILES[0]).exists():
            merge(_base_of(spec), weights, Path(scratch) / "merged")
            weights = Path(scratch) / "merged"
        options = spec_in_training(spec, precision).options
        yield ModelSpec(weights=str(weights), backend=spec.backend, options=options)


def save_weights(model: Any, folder: Path) -> None:  # noqa: ANN401 - a model or peft's wrapper
    """Write adapter or weights in bfloat16, without what only a hub would read."""
    state = {name: tensor.detach().to(torch.bfloat16).contiguous() for name, tensor in model.state_dict().items()}
    model.save_pretrained(folder, state_dict=state)
    (folder / "README.md").unlink(missing_ok=True)
    if not (folder / FILES[0]).exists():
        AutoTokenizer.from_pretrained(model.name_or_path).save_pretrained(folder)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written whole; its state file comes last."""
    whole = [path.parent for path in folder.glob("checkpoint-*/trainer_state.json")]
    for path in folder.glob("checkpoint-*"):
        if path not in whole:
            shutil.rmtree(path)
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
