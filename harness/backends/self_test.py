"""The choice of a way to run a loaded model, by comparison with the model's own forward pass.

Transformers has hundreds of architectures, and not all mix tokens where ``packed`` expects it. So on the loaded weights
a few short texts and a long one are run in the way that is to be used: alone, together, and with a cache that was cut
and continued. What comes out is compared with the model's own pass over each whole text, without a cache. Tried in this
order: ``packed``, then ``plain`` with its three uses of the cache. A model for which none is right is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from transformers import PreTrainedModel

from harness.backends.comparison import Differs, Text, compare, texts_to_compare
from harness.backends.linear import prepack_linear_layers, restore_linear_layers
from harness.backends.memory import out_of_memory
from harness.backends.packed import PackedModel
from harness.backends.packed_attention import ATTENTION, NotPackable
from harness.backends.plain import PlainModel, Reuse
from harness.backends.quantized.convert import exact_activations
from harness.backends.row_check import LEAST_ROWS, least_rows
from harness.backends.sequences import Chunk, SequenceModel
from harness.text import one_line


@dataclass(frozen=True, slots=True)
class Choice:
    """How a model is run, and why."""

    way: Literal["packed", "plain"]
    reuse: Reuse | Literal[""]
    """Use of the cache in the plain way; empty for ``packed``."""
    isolated: bool
    """Whether sequences run one at a time in deterministic mode."""
    least_rows: int
    """Rows that a pass of several sequences is padded to in deterministic mode; 1 where sequences run one at a time."""
    why: str
    """Why not ``packed``, or why one at a time; may be empty."""
    compared: str
    """What was compared."""

    @property
    def says(self) -> str:
        """The choice in one line."""
        if self.way == "plain":
            cache = {"session": "continued", "decode": "continued by single tokens", "none": "not used"}[self.reuse]
            how = f"plain, one sequence at a time, its cache {cache} (not packed: {self.why})"
        elif self.isolated:
            how = f"packed, one sequence at a time in deterministic mode ({self.why})"
        else:
            padded = f", padded to {self.least_rows} rows in deterministic mode" if self.least_rows > 1 else ""
            how = f"packed{padded}"
        return f"{how}; compared: {self.compared}"


def make(model: PreTrainedModel, choice: Choice, *, deterministic: bool) -> SequenceModel:
    """The model, run as chosen."""
    if choice.reuse:
        return PlainModel(model, deterministic=deterministic, reuse=choice.reuse)
    use_attention(model, ATTENTION)
    prepack_linear_layers(model)
    packed = PackedModel(model, deterministic=deterministic, least_rows=choice.least_rows)
    packed.isolated |= deterministic and choice.isolated
    return packed


def choose(model: PreTrainedModel, ids: Sequence[int]) -> Choice:
    """Find out how a model can be run. Its attention must be ``eager``; ``make`` then sets it up.

    Args:
        model: The model, as loaded.
        ids: Tokens of some text.

    Raises:
        Differs: it can be run in no way.
        Exception: memory ran out, see ``out_of_memory``; that says nothing of the model.
    """
    with exact_activations(model):
        return _choose(model, ids)


def _choose(model: PreTrainedModel, ids: Sequence[int]) -> Choice:
    texts, tolerance = texts_to_compare(model, list(ids))
    lengths = ", ".join(str(len(text.prompt)) for text in texts)
    compared = f"texts of {lengths} tokens alone, in a batch and continued, within {tolerance:.2g} nats"
    try:
        rows, why = _try_packed(model, texts, tolerance)
    except Exception as error:  # whatever a model does with attention that it does not know
        if out_of_memory(error):
            raise
        why = cause_of(error)
        if not isinstance(error, NotPackable | Differs):
            why = f"its layers do not take a packed pass ({why})"
    else:
        return Choice("packed", "", isolated=rows is None, least_rows=rows or 1, why=why, compared=compared)
    use_attention(model, "eager")
    restore_linear_layers(model)
    last = why
    for reuse in get_args(Reuse):
        try:
            _try_plain(model, reuse, texts, tolerance)
        except Exception as error:
            if out_of_memory(error):
                raise
            last = cause_of(error)
        else:
            return Choice("plain", reuse, isolated=True, least_rows=1, why=why, compared=compared)
    raise Differs(last)


def _try_plain(model: PreTrainedModel, reuse: Reuse, texts: Sequence[Text], tolerance: float) -> None:
    plain = PlainModel(model, deterministic=True, reuse=reuse)
    try:
        compare(plain, texts, tolerance)
    finally:
        plain.close()


def _try_packed(model: PreTrainedModel, texts: Sequence[Text], tolerance: float) -> tuple[int | None, str]:
    """Rows that a pass must have at least in deterministic mode; None, with the reason, where sequences must run one at
    a time. Raises where ``packed`` is wrong.
    """
    use_attention(model, ATTENTION)
    prepack_linear_layers(model)
    packed = PackedModel(model, deterministic=True, least_rows=LEAST_ROWS[-1])
    try:
        packed.forward([Chunk(packed.new_cache(), texts[0].prompt)])
        _check_layers(packed)
        if packed.isolated:
            compare(packed, texts, tolerance)
            return None, "its position encodings depend on the longest text of a pass"
        least = least_rows(model)
        for rows in [rows for rows in LEAST_ROWS if rows >= (least or LEAST_ROWS[-1])]:
            packed.least_rows = rows  # other layers than those that least_rows tries may need more
            alone, together = compare(packed, texts, tolerance)
            if least is not None and all(torch.equal(*both) for both in zip(alone, together, strict=True)):
                return rows, ""
        return None, "a row depends on the other rows of a pass"
    finally:
        packed.close()


def use_attention(model: PreTrainedModel, name: str) -> None:
    """Have all parts of a model use an implementation of attention, as far as they ask for one when they run."""
    configs: list[Any] = [getattr(part, "config", None) for part in model.modules()]
    for config in {id(one): one for one in configs}.values():
        if hasattr(config, "_attn_implementation_internal"):
            config._attn_implementation = name


def _check_layers(packed: PackedModel) -> None:
    """Raise if a layer mixes tokens elsewhere than in packed attention.

    Raises:
        NotPackable: one does.
    """
    names = {id(module): name for name, module in packed.model.named_modules()}
    called = [names[id(module)] for _, module in packed.last_pass.layers]
    stacks = [
        (name, module)
        for name, module in packed.model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and any(one.startswith(f"{name}.") for one in called)
    ]
    if not stacks:
        raise NotPackable("its attention does not go through transformers' AttentionInterface")
    outermost, layers = min(stacks, key=lambda found: len(found[0]))
    for place, layer in enumerate(layers):
        prefix = f"{outermost}.{place}"
        convolution = next((part for part in layer.modules() if isinstance(part, torch.nn.Conv1d)), None)
        if convolution is not None or not any(one.startswith(f"{prefix}.") for one in called):
            raise NotPackable(f"layer {place}, {type(layer).__name__}, mixes tokens otherwise than by attention")


def cause_of(error: Exception) -> str:
    """Why a model cannot be run in some way, in one line."""
    found = one_line(error, 200)
    return found if isinstance(error, NotPackable | Differs) else f"{type(error).__name__}: {found}"
