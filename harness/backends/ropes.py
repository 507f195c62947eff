"""Rotary position encodings whose frequencies depend on the longest text of a pass, and on the passes before."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from harness.backends.sequences import Chunk


def _types(module: nn.Module) -> set[str]:
    found: Any = getattr(module, "rope_type", None)
    return {str(one) for one in (found.values() if isinstance(found, dict) else [found])}


class LengthRopes:
    """The rotary encodings of a model that depend on a length (``dynamic``, ``longrope``); false if there are none.

    A pass must then hold one sequence, and begin with the encodings as they were loaded. Above the length ``switch``,
    LongRoPE encodes all positions otherwise, so that keys which were cached below it are of no use.

    Args:
        model: The model, as loaded.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.switch: int | None = None
        self._loaded: list[tuple[nn.Module, dict[str, Any]]] = []
        for module in model.modules():
            types = _types(module)
            if not any("dynamic" in one or one == "longrope" for one in types):
                continue
            state = {key: found for key, found in vars(module).items() if key.endswith("max_seq_len_cached")}
            state |= {key: found for key, found in vars(module).items() if key == "attention_scaling"}
            buffers = {key: found.clone() for key, found in module.named_buffers(recurse=False)}
            self._loaded.append((module, {**state, **buffers}))
            if "longrope" in types:
                self.switch = _original_length(model)

    def __bool__(self) -> bool:
        return bool(self._loaded)

    def reset(self) -> None:
        """Put the encodings back as they were loaded."""
        for module, state in self._loaded:
            for key, found in state.items():
                setattr(module, key, found.clone() if isinstance(found, torch.Tensor) else found)

    def whole_where_they_switch(self, chunk: Chunk) -> Chunk:
        """The chunk, or the whole text where the chunk takes it above ``switch``; its cache is emptied then."""
        held = len(chunk.cache.ids)
        if self.switch is None or not 0 < held <= self.switch < held + len(chunk.ids):
            return chunk
        ids = [*chunk.cache.ids, *chunk.ids]
        chunk.cache.crop(0)
        return Chunk(chunk.cache, ids, earlier=chunk.earlier)


def _original_length(model: PreTrainedModel) -> int | None:
    config: Any = model.config.get_text_config()
    ropes = getattr(config, "rope_parameters", None) or {}
    for found in (ropes, *(one for one in ropes.values() if isinstance(one, dict)), vars(config)):
        if length := found.get("original_max_position_embeddings"):
            return int(length)
    return None
