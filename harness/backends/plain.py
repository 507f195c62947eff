"""The plain way of running a model: transformers' own forward pass and cache, one sequence at a time.

Slower than ``packed``, and right for every causal model. How much of its cache can be used depends on the model:

- ``session``: a later turn goes on from it,
- ``decode``: only single tokens go on from it; a longer chunk is read with all that is before it,
- ``none``: the model keeps a state elsewhere, or none; every pass reads the whole text.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from harness.backends.ropes import LengthRopes
from harness.backends.sequences import Chunk, LastPosition, SequenceModel, TokenCache

Reuse = Literal["session", "decode", "none"]
_CACHE_NAMES = ("past_key_values", "cache_params", "state")


@dataclass(slots=True)
class OwnCache:
    """A sequence and the model's own cache of it."""

    ids: list[int] = field(default_factory=list)
    boundaries: tuple[int, ...] = ()
    readers: tuple[str, ...] = ()
    last_position: LastPosition | None = None
    state: Any = None
    """What the model keeps; None where it must read the whole text."""
    kept: tuple[int, Any] | None = None
    """A copy as it was after so many tokens, for caches that cannot be cut: the end of the last prompt."""
    switch: int | None = None
    """See ``LengthRopes``."""

    def crop(self, length: int) -> None:
        """Forget all but the first ``length`` tokens, or more where the cache cannot be cut there."""
        if length >= len(self.ids):
            return
        if self.switch is not None and length <= self.switch < len(self.ids):
            length = 0
        if self.state is not None and length and not _cut(self.state, length):
            length, self.state = self.kept if self.kept is not None and self.kept[0] <= length else (0, None)
        if not length:
            self.state = None
        self.kept = None
        del self.ids[length:]
        self.last_position = None

    @property
    def bytes(self) -> int:
        """Bytes held."""
        return sum(tensor.nbytes for tensor in _tensors([self.state, self.kept], set()))


class PlainModel(SequenceModel):
    """A causal language model that runs chunks of sequences one after another.

    Args:
        model: The model, as transformers loads it.
        deterministic: As for ``SequenceModel``; sequences run alone in either case.
        reuse: How much of the model's cache is used.
    """

    def __init__(self, model: PreTrainedModel, *, deterministic: bool, reuse: Reuse = "session") -> None:
        super().__init__(model, deterministic=deterministic)
        self.isolated = True
        self.reuse = reuse
        self._ropes = LengthRopes(model)
        accepted = inspect.signature(model.forward).parameters
        self._cache_name = next((name for name in _CACHE_NAMES if name in accepted), None)
        self._optional = {"position_ids", "use_cache"}.intersection(accepted)

    def new_cache(self) -> OwnCache:
        """The cache of a new sequence."""
        return OwnCache(switch=self._ropes.switch)

    def branch(self, cache: TokenCache, places: Sequence[int]) -> TokenCache:
        """The tokens at these places of a tree. Nothing was kept of them: they are read again."""
        return OwnCache([cache.ids[place] for place in places], switch=self._ropes.switch)

    @torch.inference_mode()
    def forward(self, chunks: Sequence[Chunk]) -> list[LastPosition]:
        """Run the chunks, extend their caches, and return the last position of each; see ``SequenceModel``."""
        return [self._forward(self._ropes.whole_where_they_switch(chunk)) for chunk in chunks]

    def _forward(self, chunk: Chunk) -> LastPosition:
        cache: Any = chunk.cache
        whole = [*cache.ids, *chunk.ids]
        anew = cache.state is None or self.reuse == "none" or (self.reuse == "decode" and len(chunk.ids) > 1)
        state, ids = (self._new_state(), whole) if anew else (cache.state, list(chunk.ids))
        if not anew and cache.boundaries and len(cache.ids) == cache.boundaries[-1] and not _can_cut(state):
            cache.kept = (len(cache.ids), copy.deepcopy(state))
        cache.state = None  # a pass that fails may have changed it; the text is then read again
        inputs: dict[str, Any] = {"input_ids": torch.tensor([ids], device=self.device)}
        places = torch.arange(len(whole) - len(ids), len(whole), device=self.device)[None]
        optional = {"position_ids": places, "use_cache": self.reuse != "none"}
        inputs |= {key: optional[key] for key in self._optional}
        if state is not None:
            inputs[str(self._cache_name)] = state
        self._ropes.reset()
        last = len(ids) - 1
        output, logits, states = self._run(inputs, torch.arange(last - chunk.earlier, last + 1))
        if self.reuse != "none" and self._cache_name is not None:
            cache.state = getattr(output, self._cache_name, None)
        cache.ids.extend(chunk.ids)
        cache.last_position = None
        return LastPosition(logits[-1], states[-1], list(logits[:-1]))

    def _new_state(self) -> Any:  # noqa: ANN401 - each model has its own kind
        model: Any = self.model
        own = self.reuse == "none" or self._cache_name in (None, "state")
        if own or not model._supports_default_dynamic_cache():
            return None
        return DynamicCache(config=model.config.get_text_config(decoder=True))


def _can_cut(state: Any) -> bool:  # noqa: ANN401 - any kind of cache
    layers: Any = getattr(state, "layers", ())
    return len(layers) > 0 and all(type(layer) is DynamicLayer for layer in layers)


def _cut(state: Any, length: int) -> bool:  # noqa: ANN401 - any kind of cache
    """Cut a cache to its first ``length`` tokens; False if it is of a kind that cannot be cut."""
    if not _can_cut(state):
        return False
    for layer in state.layers:
        if layer.is_initialized:
            layer.keys, layer.values = layer.keys[..., :length, :], layer.values[..., :length, :]
    return True


def _tensors(found: Any, seen: set[int]) -> list[Tensor]:  # noqa: ANN401 - any kind of cache
    """The tensors in a cache of whatever kind."""
    if id(found) in seen:
        return []
    seen.add(id(found))
    if isinstance(found, Tensor):
        return [found]
    if isinstance(found, list | tuple):
        return [tensor for one in found for tensor in _tensors(one, seen)]
    if isinstance(found, dict):
        return _tensors(list(found.values()), seen)
    if type(found).__module__.startswith("transformers"):
        return _tensors(list(vars(found).values()), seen)
    return []
