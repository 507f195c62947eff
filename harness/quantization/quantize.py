"""``mixroute quantize``: checkpoints in the compressed-tensors format, which transformers and vLLM read.

AWQ and GPTQ are done by llm-compressor (the extra ``quantize``). Calibration reads the agent's own prompts: episodes
of the recipe's lessons, in the tokens of play.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from harness.backends.encoding import Encoder
from harness.errors import MixrouteError
from harness.files import scratch_folder
from harness.pool import ModelSpec, Pool, load_pool, save_pool
from harness.provenance import provenance
from harness.traces.contamination import trained_on
from harness.training.card import write_card
from harness.training.demonstrate import demonstrations, open_lesson
from harness.training.examples import Example, encode
from harness.training.recipe import AgentRecipe
from harness.weights.adapters import weights_folder
from harness.weights.rounding import group_of, open_dense, round_to_nearest
from harness.weights.schemes import Scheme, get_scheme

log = logging.getLogger(__name__)

CALIBRATION_EPISODES = 32
"""AWQ does well from 16 sequences (Lin et al., 2024, section 5.3); from 128 its search takes 40 minutes on a CPU."""
_LONGEST = 1024  # tokens of an episode that calibration reads


def quantize(
    pool: str, model: str, schemes: Sequence[str], recipe: AgentRecipe, folder: Path, place: str | None = None
) -> Path:
    """Write ``folder/SCHEME`` for each scheme, and ``folder/pool.yaml``.

    A scheme whose folder exists is left as it is. The pool file has the model, as ``high``, and all quantized variants
    in the folder, to be compared with it; with ``place``, it has the models of ``pool``, with the one variant as model
    ``place``.

    Raises:
        MixrouteError: unknown scheme or model, several schemes for one place, weights that cannot be read, or
            llm-compressor is not installed.
    """
    chosen = {name: get_scheme(name) for name in schemes}
    if place and len(chosen) != 1:
        raise MixrouteError(f"one variant can be model '{place}', not {len(chosen)}: name one scheme with --scheme")
    known = load_pool(pool)
    spec = _spec(known, model)
    base = Path(weights_folder(spec))
    missing = {name: scheme for name, scheme in chosen.items() if not (folder / name).exists()}
    examples = _calibration(recipe, base) if any(scheme.calibrated for scheme in missing.values()) else []
    for name, scheme in missing.items():
        folder.mkdir(parents=True, exist_ok=True)
        with scratch_folder(folder) as scratch:
            made = scratch / name
            _quantize(base, scheme, examples, made)
            facts = {
                "schema": 1,
                "scheme": name,
                "base": spec.model_dump(include={"weights", "adapter"}),
                "calibration": {"recipe": recipe.name, "episodes": len(examples)} if scheme.calibrated else None,
                "provenance": provenance(),
            }
            write_card(made, facts, trained_on(spec))
            made.replace(folder / name)
    if place:
        (name,) = chosen
        note = f"Pool {pool}, and as {place} the variant of its {model} that 'mixroute quantize' made."
        models = known.models | {place: _variant(spec, folder / name)}
        return save_pool(folder / "pool.yaml", f"{known.name}-{name}", note, models, known.kv_cache)
    variants = sorted(path.parent for path in folder.glob("*/config.json"))
    models = {"high": spec} | {variant.name: _variant(spec, variant) for variant in variants}
    note = f"Quantized variants of {pool}, made by 'mixroute quantize'."
    return save_pool(folder / "pool.yaml", f"{known.name}-variants", note, models)


def _variant(spec: ModelSpec, folder: Path) -> ModelSpec:
    """The model in ``folder``, with the options of its base, except that its checkpoint states how it is packed."""
    options = {key: value for key, value in spec.options.items() if key != "quantization"}
    return ModelSpec(backend=spec.backend, weights=str(folder), options=options)


def _spec(pool: Pool, model: str) -> ModelSpec:
    if model not in pool.models:
        raise MixrouteError(f"pool '{pool.name}' has no model '{model}': it has {', '.join(pool.models)}")
    return pool.models[model]


def _calibration(recipe: AgentRecipe, base: Path) -> list[Example]:
    from transformers import AutoTokenizer

    encoder = Encoder(AutoTokenizer.from_pretrained(base))
    share = -(-CALIBRATION_EPISODES // len(recipe.lessons))
    examples = []
    for lesson in recipe.lessons:
        opened = open_lesson(lesson.model_copy(update={"limit": share}))
        shown = islice(demonstrations(lesson, opened, recipe.seed), share)
        examples += [encode(one, opened.task, encoder) for one in shown]
    return examples


def _quantize(base: Path, scheme: Scheme, examples: Sequence[Example], target: Path) -> None:
    if scheme.method == "rtn":
        round_to_nearest(base, scheme, target)
        return
    try:
        from datasets import Dataset
        from llmcompressor import oneshot
        from llmcompressor.modifiers.awq import AWQModifier
        from llmcompressor.modifiers.quantization import GPTQModifier
    except ImportError as error:
        raise MixrouteError(
            f"{scheme.method} needs llm-compressor ({error}): pip install 'mixroute[quantize]'"
        ) from error
    model, tokenizer = open_dense(base)
    group = group_of(model, scheme)
    log.info("%s%d in groups of %d", scheme.method, scheme.bits, group)
    kind: Any = {"awq": AWQModifier, "gptq": GPTQModifier}[scheme.method]
    ids = [list(example.ids[:_LONGEST]) for example in examples]
    with _without_pinning():
        oneshot(
            model=model,
            recipe=kind(config_groups=scheme.config_groups(group), ignore=["lm_head"]),
            dataset=Dataset.from_dict({"input_ids": ids, "attention_mask": [[1] * len(one) for one in ids]}),
            num_calibration_samples=len(ids),
            max_seq_length=_LONGEST,
        )
    model.save_pretrained(target, save_compressed=True)
    tokenizer.save_pretrained(target)


@contextmanager
def _without_pinning() -> Iterator[None]:
    """Turn off pinning of memory, which llm-compressor's AWQ does even on a machine without the device that it is
    for.
    """
    if torch.cuda.is_available():
        yield
        return
    pin = torch.Tensor.pin_memory
    torch.Tensor.pin_memory = lambda self, *_, **__: self  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.Tensor.pin_memory = pin  # type: ignore[method-assign]
