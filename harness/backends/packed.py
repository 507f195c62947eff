"""Many sequences through one forward pass without padding, each with a key-value cache of its own.

The new tokens of all sequences are concatenated in a single row; linear layers see one matrix, and only attention
treats sequences separately. A prefill of 300 tokens and 15 single decode tokens share a pass, and nothing is computed
twice. Works with every transformers model whose attention goes through ``AttentionInterface``.

Batch invariance. A matrix product may round differently for another number of rows (libraries switch kernels), which is
why the same prompt can get another answer in another batch. In deterministic mode a pass is padded to at least
``MIN_ROWS`` rows, from which on no such difference was measured, and ``row_invariant`` checks this on the machine,
with the loaded weights, before anything is run; where the check fails, sequences run one at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from harness.backends.linear import PrepackedLinear, prepack_linear_layers

MIN_ROWS = 16
_GROWTH = 128  # tokens; capacity grows in such blocks


@dataclass(frozen=True, slots=True)
class LastPosition:
    """Logits of the next token and last hidden state at the last position of a sequence, in float32."""

    logits: Tensor
    """Shape (vocabulary,)."""
    state: Tensor
    """Shape (hidden size,)."""


@dataclass(slots=True)
class KVCache:
    """Keys and values of one sequence, and the token ids they belong to."""

    store: Tensor | None = None
    """Shape (layers, 2, key-value heads, capacity, head size)."""
    ids: list[int] = field(default_factory=list)
    boundaries: tuple[int, ...] = ()
    """Ends of the turns that the ids were read in."""
    last_position: LastPosition | None = None
    """What the model computed at the last id, where a call asked for it; the next token then needs no pass."""

    def crop(self, length: int) -> None:
        """Forget all but the first ``length`` tokens."""
        if length < len(self.ids):
            del self.ids[length:]
            self.last_position = None

    def path(self, places: Sequence[int]) -> KVCache:
        """A cache of the tokens at these places, which follow one another in the text that was read."""
        store = None if self.store is None else self.store[:, :, :, list(places)]
        return KVCache(store, [self.ids[place] for place in places])

    @property
    def bytes(self) -> int:
        """Bytes held."""
        return 0 if self.store is None else self.store.nbytes


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next tokens of one sequence."""

    cache: KVCache
    ids: Sequence[int]
    parents: Sequence[int] | None = None
    """Where the tokens form a tree that hangs on the cached sequence: for each the index of the token before it, -1 for
    a first one. Indices count the cached tokens first; that of a token is larger than its parent's."""


class PackedModel:
    """A causal language model that runs chunks of many sequences in one pass."""

    def __init__(self, model: PreTrainedModel, *, deterministic: bool) -> None:
        config = model.config.get_text_config()
        heads = int(config.num_attention_heads)
        self._kv_heads = int(getattr(config, "num_key_value_heads", None) or heads)
        self._head_size = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
        self._layers = int(config.num_hidden_layers)
        self.model = model
        prepack_linear_layers(model)
        head: nn.Module = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        head.register_forward_pre_hook(self._keep_states)
        self._states = torch.empty(0)
        self.device = model.device
        self.deterministic = deterministic
        self.isolated = deterministic and not row_invariant(model)
        """Whether passes must hold one sequence only, because the row check failed on this machine."""

    @torch.inference_mode()
    def forward(self, chunks: Sequence[Chunk]) -> list[LastPosition]:
        """Run the chunks, extend their caches, and return the last position of each.

        If this raises (out of memory), no cache has changed.
        """
        counts = [len(chunk.ids) for chunk in chunks]
        ids = [token for chunk in chunks for token in chunk.ids]
        positions = [len(chunk.cache.ids) + i for chunk in chunks for i in range(len(chunk.ids))]
        ends = torch.tensor(counts).cumsum(0) - 1
        if self.deterministic:
            padding = max(0, MIN_ROWS - len(ids))
            ids += [0] * padding
            positions += [0] * padding
            ends = torch.cat([ends, ends.new_zeros(max(0, MIN_ROWS - len(counts)))])
        for chunk in chunks:
            self._reserve(chunk.cache, len(chunk.cache.ids) + len(chunk.ids))
        output = self.model(
            input_ids=torch.tensor([ids], device=self.device),
            position_ids=torch.tensor([positions], device=self.device),
            use_cache=False,
            logits_to_keep=ends.to(self.device),
            packed_chunks=chunks,
            packed_masks={},
        )
        for chunk in chunks:
            chunk.cache.ids.extend(chunk.ids)
            chunk.cache.last_position = None
        # To the CPU at once: this waits for the device, so that its time is measured.
        logits, states = (found[0, : len(chunks)].float().cpu() for found in (output.logits, self._states))
        return [LastPosition(*both) for both in zip(logits, states, strict=True)]

    @torch.inference_mode()
    def read_tree(self, cache: KVCache, ids: Sequence[int], parents: Sequence[int], keep: Sequence[int]) -> Tensor:
        """Read texts that begin alike in one pass, what they share once. The cache then holds the whole tree.

        Args:
            cache: What was read before; a sequence.
            ids: The tokens.
            parents: See ``Chunk``.
            keep: Places among ``ids``.

        Returns:
            Logits of the token after each of ``keep``: shape (len(keep), vocabulary), float32, on the CPU.
        """
        chunk = Chunk(cache, ids, parents)
        self._reserve(cache, len(cache.ids) + len(ids))
        output = self.model(
            input_ids=torch.tensor([list(ids)], device=self.device),
            position_ids=torch.tensor([_depths(len(cache.ids), parents)], device=self.device),
            use_cache=False,
            logits_to_keep=torch.tensor(list(keep), device=self.device),
            packed_chunks=[chunk],
            packed_masks={},
        )
        cache.ids.extend(ids)
        logits: Tensor = output.logits[0].float().cpu()
        return logits

    def _keep_states(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Hook before the head: its input are the last hidden states at the last positions."""
        self._states = inputs[0]

    def _reserve(self, cache: KVCache, length: int) -> None:
        capacity = 0 if cache.store is None else cache.store.shape[3]
        if length <= capacity:
            return
        wanted = -(-max(length, capacity + capacity // 4) // _GROWTH) * _GROWTH
        shape = (self._layers, 2, self._kv_heads, wanted, self._head_size)
        grown = torch.empty(shape, dtype=self.model.dtype, device=self.device)
        if cache.store is not None:
            held = len(cache.ids)
            grown[:, :, :, :held] = cache.store[:, :, :, :held]
        cache.store = grown


def _packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    *,
    packed_chunks: Sequence[Chunk],
    packed_masks: dict[tuple[int, int | None], Tensor | None],
    **_ignored: Any,  # noqa: ANN401 - models pass further keywords that only other implementations read
) -> tuple[Tensor, None]:
    """Attention of each chunk to its own cache. ``query`` is (1, heads, rows, head size); rows after the last chunk are
    padding, and their output is zero. Query heads that share a key head are folded into rows, so keys are never
    repeated. ``packed_masks`` is empty at the start of a pass; the layers share the masks in it.
    """
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    _, heads, rows, size = query.shape
    groups = heads // key.shape[1]
    output = query.new_zeros(rows, heads * size)
    start = 0
    for at, chunk in enumerate(packed_chunks):
        count, held = len(chunk.ids), len(chunk.cache.ids)
        end, length = start + count, held + count
        store = chunk.cache.store
        assert store is not None  # noqa: S101 - reserved before the pass
        keys, values = store[layer, 0, :, :length], store[layer, 1, :, :length]
        keys[:, held:] = key[0, :, start:end]
        values[:, held:] = value[0, :, start:end]
        folded = query[0, :, start:end].reshape(1, -1, groups * count, size)
        if (key_of_mask := (at, sliding_window)) not in packed_masks:
            make = _causal_mask if chunk.parents is None else partial(_tree_mask, chunk.parents)
            packed_masks[key_of_mask] = make(held, count, groups, sliding_window, query)
        mask = packed_masks[key_of_mask]
        mixed = scaled_dot_product_attention(folded, keys[None], values[None], attn_mask=mask, scale=scaling)
        output[start:end] = mixed.view(heads, count, size).transpose(0, 1).reshape(count, heads * size)
        start = end
    return output[None], None


def _causal_mask(held: int, count: int, groups: int, window: int | None, like: Tensor) -> Tensor | None:
    """Additive mask of the folded query rows over ``held + count`` keys; None where every row attends to all keys."""
    if count == 1 and (window is None or held < window):
        return None
    keys = torch.arange(held + count, device=like.device)
    own = torch.arange(held, held + count, device=like.device)[:, None]
    visible = keys <= own
    if window is not None:
        visible &= keys > own - window
    hidden = like.new_zeros(visible.shape).masked_fill_(~visible, -torch.inf)
    return hidden.repeat(groups, 1)


def _tree_mask(parents: Sequence[int], held: int, count: int, groups: int, window: int | None, like: Tensor) -> Tensor:
    """As ``_causal_mask``, where each token sees those on its way to the root."""
    visible = torch.zeros(count, held + count, dtype=torch.bool)
    for own, parent in enumerate(parents):
        if parent >= held:
            visible[own] = visible[parent - held]
        visible[own, : min(parent + 1, held)] |= parent < held
        visible[own, held + own] = True
    if window is not None:
        depths = torch.tensor(_depths(held, parents))
        visible &= torch.cat([torch.arange(held), depths]) > depths[:, None] - window
    hidden = like.new_zeros(visible.shape).masked_fill_(~visible.to(like.device), -torch.inf)
    return hidden.repeat(groups, 1)


def _depths(held: int, parents: Sequence[int]) -> list[int]:
    """Number of tokens before each token of a tree that hangs on a sequence of ``held`` tokens."""
    depths: list[int] = []
    for parent in parents:
        depths.append(depths[parent - held] + 1 if parent >= held else parent + 1)
    return depths


ATTENTION = "mixroute_packed"
AttentionInterface.register(ATTENTION, _packed_attention)


@torch.inference_mode()
def row_invariant(model: PreTrainedModel) -> bool:
    """Whether every linear layer computes a row the same, bit for bit, in a batch of 16 rows and in larger ones.

    One layer of each shape is tried with 16, 17, 40, 129 and 300 rows, and with the rows in another order.
    """
    generator = torch.Generator().manual_seed(0)
    tried: set[tuple[int, int, type[nn.Module]]] = set()
    for layer in model.modules():
        if not isinstance(layer, nn.Linear | PrepackedLinear):
            continue
        if (shape := (layer.in_features, layer.out_features, type(layer))) in tried:
            continue
        tried.add(shape)
        x = torch.randn(300, layer.in_features, generator=generator).to(device=model.device, dtype=model.dtype)
        reference = torch.cat([layer(x[start : start + MIN_ROWS]) for start in range(0, 288, MIN_ROWS)])
        for rows in (MIN_ROWS, 17, 40, 129, 300):
            if not torch.equal(layer(x[:rows])[:288], reference[:rows]):
                return False
        if not torch.equal(layer(x[:288].flip(0)).flip(0), reference):
            return False
    return True
