"""Which way a loaded model is run: found by ``self_test`` once, then remembered in the cache folder."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from harness.backends.memory import out_of_memory
from harness.backends.packed import PackedModel
from harness.backends.self_test import Choice, cause_of, choose
from harness.backends.source_hash import source_hash
from harness.errors import MixrouteError
from harness.files import cache_folder, write_atomically
from harness.provenance import computed_by

log = logging.getLogger(__name__)

_TEXT = (
    "You are in the middle of a room. Looking quickly around you, you see a desk 1, a shelf 2 and a bed 1.\n"
    "Your task is to: put a clean mug on the shelf.\n> go to desk 1\nOn the desk 1, you see a mug 3, a pen 2 and "
    "a book 1.\n> take mug 3 from desk 1\nYou pick up the mug 3 from the desk 1.\n"
)


def architecture(model: PreTrainedModel) -> str:
    """Name of a model's class."""
    return type(model).__name__


def config_hash(model: PreTrainedModel) -> str:
    """SHA-256 (hex) of a model's configuration, which says how its weights are used."""
    found: dict[str, Any] = model.config.to_dict()
    for key in ("_name_or_path", "transformers_version"):
        found.pop(key, None)
    return hashlib.sha256(json.dumps(found, sort_keys=True, default=str).encode()).hexdigest()


def choose_way(
    name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, fingerprint: str, *, force: bool = False
) -> Choice:
    """How to run a model.

    Args:
        name: Of the model in its pool.
        model: The model, as loaded.
        tokenizer: The model's.
        fingerprint: Of the weights, as in the model's card.
        force: Whether to test again what is remembered.

    Raises:
        MixrouteError: it can be run in no way, or memory ran out; neither is remembered.
    """
    code: Any = source_hash(PackedModel)
    depends_on = [fingerprint, config_hash(model), str(model.device), code, computed_by()]
    key = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()
    path = cache_folder("self-tests", f"{key}.json")
    if not force:
        with suppress(OSError, msgspec.MsgspecError):
            return _told(name, model, msgspec.json.decode(path.read_bytes(), type=Choice))
    try:
        choice = choose(model, _ids(model, tokenizer))
    except Exception as error:  # a finding, or whatever transformers raises for a model that takes other inputs
        reason = f"{architecture(model)}: {cause_of(error)}"
        if out_of_memory(error):
            reason = f"memory ran out in its self-test ({reason}): free memory, or run it on another device"
        raise MixrouteError(f"model '{name}' ({model.name_or_path}) cannot be run: {reason}") from error
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, msgspec.json.encode(choice))
    return _told(name, model, choice)


def _told(name: str, model: PreTrainedModel, choice: Choice) -> Choice:
    """The choice, logged where it is the slow way."""
    if choice.way != "packed":
        log.warning("model '%s' (%s) runs %s", name, architecture(model), choice.says)
    return choice


def _ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Sequence[int]:
    """Tokens of a text, without special ones."""
    embedding: Any = model.get_input_embeddings()
    most = int(embedding.num_embeddings)
    special = set(tokenizer.all_special_ids)
    text: list[int] = tokenizer(_TEXT, add_special_tokens=False)["input_ids"]
    found = [one for one in text if one not in special and one < most]
    return found if len(set(found)) > 8 else [one for one in range(min(most, 64)) if one not in special]
