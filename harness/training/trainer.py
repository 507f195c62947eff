"""Fine-tuning with transformers' Trainer: the loss is on learned tokens only, and dev games replace the dev loss."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, Trainer, TrainingArguments

from harness.pool import ModelSpec
from harness.training.examples import IGNORED, Example, collate
from harness.training.recipe import AgentRecipe


class AgentTrainer(Trainer):
    """Trains on batches of examples and plays dev games instead of computing a dev loss.

    Args:
        model: The model, with or without adapters.
        recipe: Hyperparameters.
        batches: The updates of one epoch.
        play: Plays the dev games with the present weights; returns metrics by name.
        folder: Where checkpoints and TensorBoard logs go.
    """

    def __init__(
        self,
        model: PreTrainedModel | nn.Module,
        recipe: AgentRecipe,
        batches: Sequence[Sequence[Example]],
        play: Callable[[nn.Module], dict[str, float]],
        folder: Path,
    ) -> None:
        updates = max(1, round(recipe.epochs * len(batches)))
        arguments = TrainingArguments(
            output_dir=str(folder / "checkpoints"),
            max_steps=updates,
            per_device_train_batch_size=1,
            learning_rate=recipe.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=round(recipe.warmup * updates),
            weight_decay=recipe.weight_decay,
            bf16=computes_in_bfloat16(recipe.precision),
            seed=recipe.seed,
            data_seed=recipe.seed,
            logging_steps=10,
            logging_first_step=True,
            eval_strategy="steps",
            eval_steps=max(1, updates // recipe.evaluations),
            save_steps=max(1, min(100, updates // recipe.evaluations)),
            save_total_limit=2,
            report_to="tensorboard",
            remove_unused_columns=False,
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=torch.cuda.is_available(),
            disable_tqdm=False,
        )
        # The Trainer requires an evaluation set; `evaluate` plays games instead.
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=list(batches),
            eval_dataset=list(batches[:1]),
            data_collator=_only,
        )
        self._trained = model
        self._play = play
        self._began = time.monotonic()
        self._earlier: float | None = None
        self.updates = updates

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,  # noqa: ANN401 - the Trainer's signature
    ) -> Any:  # noqa: ANN401 - the Trainer's signature
        """Mean cross-entropy of the learned tokens; logits are computed at their positions only."""
        labels = inputs["labels"][:, 1:]
        keep = (labels != IGNORED).any(dim=0).nonzero()[:, 0]
        outputs = model(input_ids=inputs["input_ids"], logits_to_keep=keep, use_cache=False)
        loss = cross_entropy(outputs.logits.float().flatten(0, 1), labels[:, keep].flatten(), ignore_index=IGNORED)
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log with the wall time so far in seconds, earlier sessions included."""
        if self._earlier is None:
            history = self.state.log_history
            self._earlier = float(history[-1]["seconds"]) if history else 0.0
        super().log({**logs, "seconds": round(self._earlier + time.monotonic() - self._began, 1)}, start_time)

    def evaluate(self, *_: object, **__: object) -> dict[str, float]:
        """Play the dev games."""
        metrics = {f"eval_{name}": value for name, value in self._play(self._trained).items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def _only(items: list[list[Example]]) -> dict[str, Tensor]:
    """Collate the one batch that the loader passes: batches are made beforehand."""
    (batch,) = items
    return collate(batch)


def spec_in_training(spec: ModelSpec, precision: str) -> ModelSpec:
    """The model's spec for play during training: in bfloat16 where ``precision`` says so, which is faster."""
    if spec.backend == "transformers" and computes_in_bfloat16(precision):
        return spec.model_copy(update={"options": {**spec.options, "dtype": "bfloat16"}})
    return spec


def computes_in_bfloat16(precision: str) -> bool:
    """Whether to compute in bfloat16 on this machine; ``auto`` means where the hardware supports it natively."""
    if precision != "auto":
        return precision == "bfloat16"
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    native = torch.cpu.get_capabilities()
    return any(native.get(kind) is True for kind in ("avx512_bf16", "amx_bf16"))
