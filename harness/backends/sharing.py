"""Whether loaded models can share the key-value caches of their sessions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from harness.backends.encoding import Encoder
from harness.backends.packed import KVCache, PackedModel
from harness.backends.ropes import LengthRopes
from harness.backends.sequences import Chunk, SequenceModel
from harness.data import Message, Prompt
from harness.errors import MixrouteError

_TURNS = ("You are in a room.\n>", " look\n", "  Done: 3 x 4 = 12, é.\n>")
_FORMATS = ("plain", "chat")
_WINDOWS = ("window", "layer_types", "chunk")
"""Parts of the names of settings that say which tokens a layer attends to."""


@dataclass(frozen=True, slots=True)
class SharingModel:
    """A loaded model that is to share caches."""

    name: str
    model: SequenceModel
    tokenizer: PreTrainedTokenizerBase
    encoder: Encoder


def check_can_share(models: Sequence[SharingModel]) -> None:
    """Check that each model can go on from the keys and values of any other; reads one token with each of them.

    Raises:
        MixrouteError: they cannot; it says which model is run otherwise, or what differs.
    """
    for one in models:
        if not isinstance(one.model, PackedModel):
            raise _refused(one, "it does not run the packed way (mixroute doctor --check says why)")
        if LengthRopes(one.model.model):
            raise _refused(one, "its position encodings depend on the length of the text")
    first, *others = models
    facts = _facts(first)
    for other in others:
        differing = [what for what, value in _facts(other).items() if value != facts[what]]
        if differing:
            raise MixrouteError(
                f"kv_cache.shared: models '{first.name}' and '{other.name}' cannot share a cache: they differ in "
                f"{', '.join(differing)}; take one of them out of the list, or delete kv_cache"
            )


def _refused(one: SharingModel, reason: str) -> MixrouteError:
    return MixrouteError(
        f"kv_cache.shared: model '{one.name}' ({type(one.model.model).__name__}) cannot share a cache: {reason}; take "
        "it out of the list, or delete kv_cache"
    )


def _facts(one: SharingModel) -> Mapping[str, object]:
    """What must be the same, by what it is called."""
    config: Any = one.model.model.config.get_text_config()
    ropes = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None)
    kept = one.model.new_cache()
    one.model.forward([Chunk(kept, [0])])
    assert isinstance(kept, KVCache)  # noqa: S101 - that of a PackedModel
    pairs = {layer: [(t.shape[0], t.shape[2], str(t.dtype)) for t in pair] for layer, pair in kept.store.items()}
    return {
        "architecture": type(one.model.model).__name__,
        "windows of attention": {
            key: value for key, value in config.to_dict().items() if any(part in key for part in _WINDOWS)
        },
        "position encodings": json.dumps([ropes, getattr(config, "rope_theta", None)], sort_keys=True, default=str),
        "tokenizer": _tokens(one),
        "device": str(one.model.device),
        "shape or type of keys and values": pairs,
    }


def _tokens(one: SharingModel) -> tuple[object, ...]:
    """The vocabulary, and how a conversation is tokenised."""
    vocabulary = json.dumps(sorted(one.tokenizer.get_vocab().items()))
    told = tuple(Message(("user", "assistant")[place % 2], text) for place, text in enumerate(_TURNS))
    formats = _FORMATS if one.tokenizer.chat_template else _FORMATS[:1]
    encoded = [one.encoder.encode(Prompt(told, form)) for form in formats]  # type: ignore[arg-type]
    return hashlib.sha256(vocabulary.encode()).hexdigest(), encoded
