"""Attention of many sequences in one row, each to its own cache: what ``PackedModel`` has a model compute.

An argument that is not known here may change what attention is (sinks, biases, sparse patterns), so it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from harness.backends.sequences import Chunk

ATTENTION = "mixroute_packed"

_HARMLESS = {
    *("position_ids", "cache_position", "position_embeddings", "use_cache", "logits_to_keep", "return_dict"),
    *("output_attentions", "output_hidden_states", "output_router_logits", "training", "layer_idx", "deterministic"),
}
"""Arguments that models pass to every implementation and that change no result of causal attention."""


class NotPackable(ValueError):
    """A model's attention is not what ``packed_attention`` computes."""


@dataclass(frozen=True, slots=True)
class _Reach:
    """Which earlier tokens a token attends to."""

    window: int | None = None
    """The last so many, itself included."""
    block: int | None = None
    """Tokens of its own block, in a text that is cut into blocks of so many tokens."""


@dataclass(slots=True)
class PackedPass:
    """One forward pass."""

    chunks: Sequence[Chunk]
    layers: list[tuple[int, nn.Module]] = field(default_factory=list)
    """Index and module of the attention layers, in the order that they ran in."""
    masks: dict[tuple[int, _Reach], Tensor | None] = field(default_factory=dict)
    """Masks by place of the chunk and reach; layers share them."""


_pass: ContextVar[PackedPass | None] = ContextVar("pass", default=None)


@contextmanager
def running(one: PackedPass) -> Iterator[None]:
    """Let attention compute this pass. Not by an argument: some models hand none on."""
    token = _pass.set(one)
    try:
        yield
    finally:
        _pass.reset(token)


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    dropout: float = 0.0,
    is_causal: bool | None = None,
    **others: Any,  # noqa: ANN401 - models pass further arguments; those that may matter are refused
) -> tuple[Tensor, None]:
    """Attention of each chunk to its own cache. ``query`` is (1, heads, rows, head size); rows after the last chunk are
    padding, and their output is zero. Query heads that share a key head are folded into rows, so keys are never
    repeated.

    Args:
        module: The layer that calls.
        query: Queries of the rows.
        key: Keys of the rows.
        value: Values of the rows.
        attention_mask: None; masks follow from the chunks.
        scaling: Factor of the scores; by default the inverse root of the size of a head.
        sliding_window: How many tokens a token attends to.
        softcap: Bound of the scores, which are squeezed by tanh.
        s_aux: Attention sinks: a score of each head that takes part in the softmax and has no value.
        dropout: 0.
        is_causal: Not False.
        **others: Arguments without effect, or of no value.

    Raises:
        NotPackable: something else is asked for.
    """
    one = _pass.get()
    if one is None:
        raise NotPackable("its attention ran outside a pass")
    _refuse(module, query, key, attention_mask, dropout, is_causal, others)
    layer = getattr(module, "layer_idx", None)
    if not isinstance(layer, int) or any(layer == seen for seen, _ in one.layers):
        raise NotPackable(f"{type(module).__name__} has no layer_idx of its own")
    one.layers.append((layer, module))
    reach = _reach(module, layer, sliding_window)
    _, heads, rows, size = query.shape
    groups = heads // key.shape[1]
    output = query.new_zeros(rows, heads, value.shape[3])
    start = 0
    for at, chunk in enumerate(one.chunks):
        count, held = len(chunk.ids), len(chunk.cache.ids)
        end, length = start + count, held + count
        stored_keys, stored_values = chunk.cache.reserve(layer, key, value, length)  # type: ignore[attr-defined]
        keys, values = stored_keys[:, :length], stored_values[:, :length]
        keys[:, held:] = key[0, :, start:end]
        values[:, held:] = value[0, :, start:end]
        folded = query[0, :, start:end].reshape(1, -1, groups * count, size)
        if (key_of_mask := (at, reach)) not in one.masks:
            one.masks[key_of_mask] = _mask(chunk, groups, reach, query)
        mask = one.masks[key_of_mask]
        if softcap is None and s_aux is None:
            mixed = scaled_dot_product_attention(folded, keys[None], values[None], attn_mask=mask, scale=scaling)
        else:
            mixed = _eager(folded, keys, values, mask, scaling or size**-0.5, softcap, s_aux)
        output[start:end] = mixed.reshape(heads, count, value.shape[3]).transpose(0, 1)
        start = end
    return output[None], None


def _eager(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None,
    scaling: float,
    softcap: float | None,
    sinks: Tensor | None,
) -> Tensor:
    """Attention written out, with what PyTorch's has no argument for."""
    scores = query @ keys[None].transpose(-1, -2) * scaling
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if mask is not None:
        scores = scores + mask
    if sinks is not None:
        _, kv_heads, rows, _ = scores.shape
        per_row = sinks.reshape(kv_heads, -1, 1).expand(-1, -1, rows * kv_heads // sinks.numel())
        own = per_row.reshape(1, kv_heads, rows, 1)
        scores = torch.cat([scores, own.to(scores.dtype)], dim=-1)
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    return weights[..., : keys.shape[1]] @ values[None]


def _refuse(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    attention_mask: Tensor | None,
    dropout: float,
    is_causal: bool | None,
    others: dict[str, Any],
) -> None:
    name = type(module).__name__
    if attention_mask is not None:
        raise NotPackable(f"{name} has an attention mask or bias of its own")
    if is_causal is False or getattr(module, "is_causal", None) is False:
        raise NotPackable(f"{name} attends to later tokens")
    if dropout:
        raise NotPackable(f"{name} drops attention weights at random")
    if query.shape[2] != key.shape[2] or query.shape[0] != 1:
        raise NotPackable(f"{name} attends to other tokens than those of the pass")
    for argument, found in others.items():
        empty = found is None or found is False or (isinstance(found, int | float) and found == 0)
        if not empty and argument not in _HARMLESS:
            raise NotPackable(f"{name} passes '{argument}', which packed attention does not implement")


def _reach(module: nn.Module, layer: int, window: int | None) -> _Reach:
    """What a layer attends to by its configuration and arguments.

    Raises:
        NotPackable: the configuration says something that the arguments do not.
    """
    config: Any = getattr(module, "config", None)
    kinds = getattr(config, "layer_types", None) or ()
    kind = str(kinds[layer]) if layer < len(kinds) else ""
    if kind == "chunked_attention":
        return _Reach(window, int(config.attention_chunk_size))
    limited = kind == "sliding_attention" or (not kind and getattr(config, "sliding_window", None))
    if limited and window is None and getattr(config, "use_sliding_window", True):
        raise NotPackable(f"{type(module).__name__} has a window that it does not pass on")
    if kind not in ("", "full_attention", "sliding_attention"):
        raise NotPackable(f"{type(module).__name__} is of type '{kind}', which packed attention does not implement")
    return _Reach(window)


def _mask(chunk: Chunk, groups: int, reach: _Reach, like: Tensor) -> Tensor | None:
    """Additive mask of the folded query rows over held and new keys; None where every row attends to all keys."""
    held, count = len(chunk.cache.ids), len(chunk.ids)
    if chunk.parents is None:
        if count == 1 and reach.block is None and (reach.window is None or held < reach.window):
            return None
        keys = torch.arange(held + count, device=like.device)
        own = torch.arange(held, held + count, device=like.device)[:, None]
        visible = keys <= own
    else:
        visible = _tree(chunk.parents, held, count).to(like.device)
        places = torch.tensor(depths(held, chunk.parents), device=like.device)
        keys, own = torch.cat([torch.arange(held, device=like.device), places]), places[:, None]
    if reach.window is not None:
        visible &= keys > own - reach.window
    if reach.block is not None:
        visible &= keys // reach.block == own // reach.block
    hidden = like.new_zeros(visible.shape).masked_fill_(~visible, -torch.inf)
    return hidden.repeat(groups, 1)


def _tree(parents: Sequence[int], held: int, count: int) -> Tensor:
    """Whether each token of a tree sees a held or new one: those on its way to the root, and itself."""
    visible = torch.zeros(count, held + count, dtype=torch.bool)
    for own, parent in enumerate(parents):
        if parent >= held:
            visible[own] = visible[parent - held]
        visible[own, : min(parent + 1, held)] |= parent < held
        visible[own, held + own] = True
    return visible


def depths(held: int, parents: Sequence[int]) -> list[int]:
    """Number of tokens before each token of a tree that hangs on a sequence of ``held`` tokens."""
    found: list[int] = []
    for parent in parents:
        found.append(found[parent - held] + 1 if parent >= held else parent + 1)
    return found


AttentionInterface.register(ATTENTION, packed_attention)
