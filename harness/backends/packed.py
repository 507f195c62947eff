"""Many sequences through one forward pass without padding, each with a key-value cache of its own.

The new tokens of all sequences are concatenated in a single row; linear layers see one matrix, and only attention
treats sequences separately. A prefill of 300 tokens and 15 single decode tokens share a pass, and nothing is computed
twice. Right for models all of whose layers that mix tokens go through ``AttentionInterface``, with arguments that
``packed_attention`` knows; ``self_test`` finds out.

Batch invariance. A matrix product may round differently for another number of rows (libraries switch kernels), which is
why the same prompt can get another answer in another batch. In deterministic mode a pass is padded to as many rows as
``row_check`` finds necessary on the machine, with the loaded weights, before anything is run: 1 for integer products,
up to 16 for others. Where none suffices, sequences run one at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain, islice

import torch
from torch import Tensor
from transformers import PreTrainedModel

from harness.backends.packed_attention import PackedPass, depths, running
from harness.backends.ropes import LengthRopes
from harness.backends.sequences import Chunk, LastPosition, SequenceModel, TokenCache

_GROWTH = 128  # tokens; capacity grows in such blocks


@dataclass(slots=True)
class KVCache:
    """Keys and values of one sequence, and the token ids they belong to."""

    store: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Keys and values by layer, each of shape (key-value heads, capacity, size of a head)."""
    ids: list[int] = field(default_factory=list)
    boundaries: tuple[int, ...] = ()
    readers: tuple[str, ...] = ()
    last_position: LastPosition | None = None
    switch: int | None = None
    """Length above which the positions of all tokens are encoded otherwise; see ``LengthRopes``."""

    def crop(self, length: int) -> None:
        """Forget all but the first ``length`` tokens; all where the keys of these were encoded for a longer text."""
        if length < len(self.ids):
            if self.switch is not None and length <= self.switch < len(self.ids):
                length = 0
            del self.ids[length:]
            self.last_position = None

    def reserve(self, layer: int, key: Tensor, value: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Keys and values of a layer, with room for ``length`` tokens.

        Args:
            layer: Index of the layer.
            key: New keys, for their type, device, heads and size: shape (1, heads, rows, size).
            value: New values.
            length: Number of tokens.
        """
        held = self.store.get(layer)
        capacity = 0 if held is None else held[0].shape[1]
        if held is not None and length <= capacity:
            return held
        wanted = -(-max(length, capacity + capacity // 4) // _GROWTH) * _GROWTH
        grown = tuple(like.new_empty(like.shape[1], wanted, like.shape[3]) for like in (key, value))
        for old, new in zip(held or (), grown, strict=False):
            new[:, : len(self.ids)] = old[:, : len(self.ids)]
        self.store[layer] = (grown[0], grown[1])
        return self.store[layer]

    def branch(self, places: Sequence[int]) -> KVCache:
        """A cache of the tokens at these places, which follow one another in the text that was read."""
        at = list(places)
        store = {layer: (keys[:, at], values[:, at]) for layer, (keys, values) in self.store.items()}
        return KVCache(store, [self.ids[place] for place in places], switch=self.switch)

    @property
    def bytes(self) -> int:
        """Bytes held."""
        return sum(tensor.nbytes for both in self.store.values() for tensor in both)


class PackedModel(SequenceModel):
    """A causal language model that runs chunks of many sequences in one pass.

    Args:
        model: The model, loaded.
        deterministic: See ``SequenceModel``.
        least_rows: Rows that a deterministic pass is padded to.
    """

    def __init__(self, model: PreTrainedModel, *, deterministic: bool, least_rows: int) -> None:
        super().__init__(model, deterministic=deterministic)
        self.least_rows = least_rows if deterministic else 1
        """Rows that a pass is padded to."""
        self._ropes = LengthRopes(model)
        self.isolated = bool(self._ropes)
        self.last_pass = PackedPass(())
        """What attention did in the last pass."""

    def new_cache(self) -> KVCache:
        """The cache of a new sequence."""
        return KVCache(switch=self._ropes.switch)

    @torch.inference_mode()
    def forward(self, chunks: Sequence[Chunk]) -> list[LastPosition]:
        """Run the chunks, extend their caches, and return the last position of each; see ``SequenceModel``."""
        chunks = [self._ropes.whole_where_they_switch(chunk) for chunk in chunks]
        counts = [len(chunk.ids) for chunk in chunks]
        ids = [token for chunk in chunks for token in chunk.ids]
        positions = [len(chunk.cache.ids) + i for chunk in chunks for i in range(len(chunk.ids))]
        ends = [end - 1 for end in accumulate(counts)]
        earlier = [list(range(end - chunk.earlier, end)) for end, chunk in zip(ends, chunks, strict=True)]
        rows = [*ends, *chain.from_iterable(earlier)]
        if (padding := self.least_rows - len(ids)) > 0:
            ids += [0] * padding
            positions += [0] * padding
        if (padding := self.least_rows - len(rows)) > 0:
            rows += [0] * padding
        logits, states = self._pass(chunks, ids, positions, torch.tensor(rows))
        for chunk in chunks:
            chunk.cache.ids.extend(chunk.ids)
            chunk.cache.last_position = None
        others = iter(logits[len(chunks) :])
        return [
            LastPosition(logits[place], states[place], list(islice(others, len(wanted))))
            for place, wanted in enumerate(earlier)
        ]

    @torch.inference_mode()
    def read_tree(self, cache: TokenCache, ids: Sequence[int], parents: Sequence[int], keep: Sequence[int]) -> Tensor:
        """Read texts that begin alike in one pass, what they share once; see ``SequenceModel``."""
        if self._ropes:  # one pass has one length
            return super().read_tree(cache, ids, parents, keep)
        chunk = Chunk(cache, ids, parents)
        logits, _ = self._pass([chunk], list(ids), depths(len(cache.ids), parents), torch.tensor(list(keep)))
        cache.ids.extend(ids)
        return logits

    def branch(self, cache: TokenCache, places: Sequence[int]) -> TokenCache:
        """A cache of the tokens at these places of a tree, which follow one another in the text that was read."""
        return cache.branch(places) if isinstance(cache, KVCache) else self.new_cache()

    def _pass(
        self, chunks: Sequence[Chunk], ids: list[int], positions: list[int], ends: Tensor
    ) -> tuple[Tensor, Tensor]:
        self._ropes.reset()
        self.last_pass = PackedPass(chunks)
        inputs = {
            "input_ids": torch.tensor([ids], device=self.device),
            "position_ids": torch.tensor([positions], device=self.device),
            "use_cache": False,
        }
        with running(self.last_pass):
            _, logits, states = self._run(inputs, ends)
        return logits, states
