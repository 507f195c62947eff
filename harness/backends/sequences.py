"""Sequences of tokens that a model reads piece by piece, and what every way of running a model offers.

Two ways exist: ``packed`` (many sequences in a pass, our attention) and ``plain`` (transformers' own cache, one
sequence at a time). ``self_test`` chooses.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class LastPosition:
    """Logits of the next token and last hidden state at the last position of a sequence, in float32."""

    logits: Tensor
    """Shape (vocabulary,)."""
    state: Tensor
    """Shape (hidden size,)."""
    earlier: Sequence[Tensor] = ()
    """Logits at the positions before it, as many as ``Chunk.earlier`` asks for, in order."""


class TokenCache(Protocol):
    """What a model keeps of one sequence, and the token ids it belongs to."""

    ids: list[int]
    boundaries: tuple[int, ...]
    """Ends of the turns that the ids were read in."""
    readers: tuple[str, ...]
    """Name of the model that read each turn."""
    last_position: LastPosition | None
    """What the model computed at the last id, where a call asked for it; the next token then needs no pass."""

    def crop(self, length: int) -> None:
        """Forget all but the first ``length`` tokens, or more where what is kept cannot be cut there."""
        ...

    @property
    def bytes(self) -> int:
        """Bytes held."""
        ...


@dataclass(slots=True)
class NoCache:
    """The cache of a sequence of which nothing was read."""

    ids: list[int] = field(default_factory=list)
    boundaries: tuple[int, ...] = ()
    readers: tuple[str, ...] = ()
    last_position: LastPosition | None = None
    bytes: int = 0

    def crop(self, length: int) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next tokens of one sequence."""

    cache: TokenCache
    ids: Sequence[int]
    parents: Sequence[int] | None = None
    """Where the tokens form a tree that hangs on the cached sequence: for each the index of the token before it, -1 for
    a first one. Indices count the cached tokens first; that of a token is larger than its parent's."""
    earlier: int = 0
    """Number of positions just before the chunk's last one whose logits are wanted, too."""


class SequenceModel(ABC):
    """A causal language model that runs the next tokens of sequences.

    Args:
        model: The model, loaded.
        deterministic: Whether a sequence must come out the same to the last bit, whatever runs beside it.
    """

    def __init__(self, model: PreTrainedModel, *, deterministic: bool) -> None:
        self.model = model
        self.deterministic = deterministic
        self.device = model.device
        self.isolated = False
        """Whether passes must hold one sequence only."""
        self._states = torch.empty(0)
        self._keeps_logits = "logits_to_keep" in inspect.signature(model.forward).parameters
        head: nn.Module = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        self._hook = head.register_forward_pre_hook(self._keep_states)

    @abstractmethod
    def new_cache(self) -> TokenCache:
        """The cache of a new sequence."""

    @abstractmethod
    def forward(self, chunks: Sequence[Chunk]) -> list[LastPosition]:
        """Run the chunks, extend their caches, and return the last position of each.

        If this raises (out of memory), no cache has changed, but that one may have been emptied.
        """

    def read_tree(self, cache: TokenCache, ids: Sequence[int], parents: Sequence[int], keep: Sequence[int]) -> Tensor:
        """Read texts that begin alike; ``branch`` takes one of them from the cache, which then holds the whole tree.

        Here each text is read by itself, as it is when it is written: to the first place of ``keep``, then by tokens.

        Args:
            cache: What was read before; a sequence.
            ids: The tokens.
            parents: See ``Chunk``.
            keep: Places among ``ids``.

        Returns:
            Logits of the token after each of ``keep``: shape (len(keep), vocabulary), float32, on the CPU.
        """
        held = len(cache.ids)
        wanted = {held + place for place in keep}
        found: dict[int, Tensor] = {}
        for leaf in sorted(wanted, reverse=True):  # a token comes after its parents
            if leaf in found:
                continue
            path = [leaf]
            while (parent := parents[path[-1] - held] if path[-1] >= held else path[-1] - 1) >= 0:
                path.append(parent)
            path.reverse()
            self._read_path(path, [cache.ids[n] if n < held else ids[n - held] for n in path], wanted, found)
        cache.ids.extend(ids)
        return torch.stack([found[held + place] for place in keep])

    def _read_path(self, path: Sequence[int], ids: Sequence[int], wanted: set[int], found: dict[int, Tensor]) -> None:
        fresh = self.new_cache()
        first = next(place for place, node in enumerate(path) if node in wanted)
        for end in range(first + 1, len(path) + 1):
            (last,) = self.forward([Chunk(fresh, ids[len(fresh.ids) : end])])
            if path[end - 1] in wanted:
                found[path[end - 1]] = last.logits

    @abstractmethod
    def branch(self, cache: TokenCache, places: Sequence[int]) -> TokenCache:
        """A cache of the tokens at these places of a tree, which follow one another in the text that was read."""

    def close(self) -> None:
        """Take what was added to the model away again."""
        self._hook.remove()

    def _keep_states(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Hook before the head: its input are the last hidden states."""
        self._states = inputs[0]

    def _run(self, inputs: dict[str, Any], ends: Tensor) -> tuple[Any, Tensor, Tensor]:
        """Run a pass; returns its output, and logits and last hidden states of the rows ``ends``, in float32.

        To the CPU at once: this waits for the device, so that its time is measured.
        """
        if self._keeps_logits:
            output = self.model(**inputs, logits_to_keep=ends.to(self.device))
            return output, output.logits[0].float().cpu(), self._states[0].float().cpu()
        output = self.model(**inputs)
        return output, output.logits[0, ends].float().cpu(), self._states[0, ends].float().cpu()
