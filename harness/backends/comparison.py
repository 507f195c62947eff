"""Comparison of a way of running a model with the model's own forward pass, for ``self_test``."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from harness.backends.quantized.grouped import GroupedLinear
from harness.backends.ropes import LengthRopes
from harness.backends.sequences import Chunk, LastPosition, SequenceModel

TOLERANCES = {torch.float32: 1e-3, torch.float16: 3e-2, torch.bfloat16: 0.2}
"""Largest difference of log-probabilities, in nats. Where the model's own passes differ by more than an eighth of it,
because of other texts that follow, eight times that difference. Layers with weights in groups compute in bfloat16."""
_LIKELIEST = 10  # tokens whose log-probabilities are compared
_NOISE = 0.5  # largest difference between the model's own passes
_STEPS = 3  # tokens after a text that are read one by one
_LONGEST = 256  # tokens of the long text; so long only for models with windows


@dataclass(frozen=True, slots=True)
class Text:
    """A text of the test and what the model itself makes of it."""

    prompt: list[int]
    steps: list[int]
    """Tokens that follow, read one by one."""
    expected: Tensor
    """Log-probabilities after the prompt and after each step: shape (1 + steps, vocabulary)."""


class Differs(ValueError):
    """A way of running a model that gives something else than the model's own pass."""


@torch.inference_mode()
def texts_to_compare(model: PreTrainedModel, ids: list[int]) -> tuple[list[Text], float]:
    """Texts for the test, and the tolerance.

    Raises:
        Differs: the model is not causal, or gives no distribution.
    """
    config: Any = model.config.get_text_config()
    ropes = LengthRopes(model)
    most = _context(config, ropes)
    window = max((int(found) for found in _windows(config) if found + 24 <= _LONGEST), default=0)
    long = max(2, min(max(96, window + 16), most))
    places = (0, 1, 7, 20)
    prompts = [_cycle(ids, start, length) for start, length in zip(places, (1, 5, 13, long), strict=True)]
    texts, noise = [], 0.0
    for start, prompt in zip(places, prompts, strict=True):
        steps = _cycle(ids, start + 31, _STEPS)
        ropes.reset()
        whole = _log_probabilities(model, prompt + steps)[len(prompt) - 1 :]
        ropes.reset()
        longer = _log_probabilities(model, prompt + steps + _cycle(ids, start + 3, 5))[len(prompt) - 1 :]
        if not whole.isfinite().any(-1).all() or whole.isnan().any():
            raise Differs("its next-token distribution is not finite")
        noise = max(noise, *(_difference(one, other) for one, other in zip(longer, whole, strict=False)))
        texts.append(Text(prompt, steps, whole))
    if noise > _NOISE:
        raise Differs("what it says of a text depends on what follows: it is not causal")
    computed_in = torch.bfloat16 if _has_groups(model) else model.dtype
    return texts, max(TOLERANCES.get(computed_in, 1e-3), 8 * noise)


def _has_groups(model: PreTrainedModel) -> bool:
    return any(isinstance(part, GroupedLinear) for part in model.modules())


def _context(config: Any, ropes: LengthRopes) -> int:  # noqa: ANN401 - transformers' configurations share no useful type
    """Most tokens of a prompt of the test; short enough that position encodings do not depend on the length."""
    limits = [getattr(config, "max_position_embeddings", None), ropes.switch]
    return min([_LONGEST, *(int(limit) for limit in limits if isinstance(limit, int))]) - _STEPS - 6


def _windows(config: Any) -> list[int]:  # noqa: ANN401 - see above
    names = ("sliding_window", "attention_chunk_size", "window_size", "local_attention", "attention_window_size")
    return [found for name in names if isinstance(found := getattr(config, name, None), int)]


def _cycle(ids: Sequence[int], start: int, length: int) -> list[int]:
    return [ids[(start + place) % len(ids)] for place in range(length)]


def _log_probabilities(model: PreTrainedModel, ids: Sequence[int]) -> Tensor:
    options = {"use_cache": False} if "use_cache" in inspect.signature(model.forward).parameters else {}
    output: Any = model(input_ids=torch.tensor([list(ids)], device=model.device), **options)
    return torch.log_softmax(output.logits[0].float().cpu(), -1)


def _difference(found: Tensor, expected: Tensor) -> float:
    """Largest difference among the likeliest tokens; infinite if one is not finite."""
    likeliest = expected.topk(min(_LIKELIEST, len(expected))).indices
    finite = likeliest[expected[likeliest].isfinite()]
    difference = float((found[finite] - expected[finite]).abs().max())
    return difference if difference == difference else torch.inf


def compare(model: SequenceModel, texts: Sequence[Text], tolerance: float) -> tuple[list[Tensor], list[Tensor]]:
    """Run the texts alone, together, and continued; returns the logits of the first two.

    Raises:
        Differs: the logits are not the model's own.
    """
    alone = [logits for text in texts for logits in _run(model, [text])]
    _judge("alone", alone, texts, tolerance, model)
    together = alone if model.isolated else _run(model, texts)
    _judge("in a batch", together, texts, tolerance, model)
    _judge("with a cache", [_continued(model, texts[-1], texts[1])], texts[-1:], tolerance, model)
    return alone, together


def _run(model: SequenceModel, texts: Sequence[Text]) -> list[Tensor]:
    caches = [model.new_cache() for _ in texts]
    found = [model.forward([Chunk(cache, text.prompt) for cache, text in zip(caches, texts, strict=True)])]
    for step in range(_STEPS):
        found.append(model.forward([Chunk(c, [text.steps[step]]) for c, text in zip(caches, texts, strict=True)]))
    return [_logits([pass_[place] for pass_ in found]) for place in range(len(texts))]


def _continued(model: SequenceModel, text: Text, other: Text) -> Tensor:
    """Logits of a text that is read from its cache as a session is.

    The first half of the prompt is read, then an answer that is taken from the cache again, then the second half and
    the steps one by one. Between these passes a second sequence is read, which must change nothing.
    """
    half = len(text.prompt) // 2
    cache, second = model.new_cache(), model.new_cache()
    cache.boundaries = (half,)
    model.forward([Chunk(cache, text.prompt[:half])])
    for token in other.steps:
        model.forward([Chunk(cache, [token])])
        model.forward([Chunk(second, [token])])
    cache.crop(half)
    cache.boundaries = (half, len(text.prompt))
    found = model.forward([Chunk(cache, text.prompt[len(cache.ids) :])])
    for token in text.steps:
        model.forward([Chunk(second, other.prompt)])
        found += model.forward([Chunk(cache, [token])])
    return _logits(found)


def _logits(found: Sequence[LastPosition]) -> Tensor:
    return torch.stack([one.logits for one in found])


def _judge(how: str, found: Sequence[Tensor], texts: Sequence[Text], tolerance: float, model: SequenceModel) -> None:
    """Raise if logits differ from those expected: in float32 at any place, else at more than a quarter of them."""
    far, places, worst = 0, 0, 0.0
    for logits, text in zip(found, texts, strict=True):
        for one, expected in zip(torch.log_softmax(logits, -1), text.expected, strict=True):
            difference = _difference(one, expected)
            top = expected.topk(2)
            turned = int(one.argmax()) != int(top.indices[0]) and float(top.values[0] - top.values[1]) > 2 * tolerance
            far += turned or difference > tolerance
            places += 1
            worst = max(worst, difference)
    # Where rounding is coarse, a route to experts may turn.
    coarse = model.model.dtype != torch.float32 or _has_groups(model.model)
    if far > (places // 4 if coarse else 0):
        raise Differs(
            f"read {how}, its log-probabilities differ from those of the model's own pass, by up to {worst:.2g}"
        )
