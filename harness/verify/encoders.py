"""The tokenizers of an entry's models, opened without their weights."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from harness.backends.encoding import Encoder
from harness.errors import MixrouteError
from harness.records import RunMeta
from harness.text import one_line
from harness.verify.pools import Pools, pool_of, with_its_tokenizers


def open_encoders(meta: RunMeta, pools: Pools) -> tuple[dict[str, Encoder], str]:
    """Open the tokenizers of the pool's models; returns them by model, or none and the reason."""
    from harness.weights.adapters import weights_folder

    reason = ""
    for name in with_its_tokenizers(meta.pool):
        try:
            models = pool_of(name, pools).models
            specs = {model: models[model].model_copy(update={"adapter": None}) for model in meta.models}
            return {model: _encoder(str(weights_folder(spec))) for model, spec in specs.items()}, ""
        except (MixrouteError, KeyError, OSError, ValueError) as error:
            reason = reason or f"the pool's tokenizer cannot be opened here: {one_line(error)}"
    return {}, reason


_GENERIC = ("TokenizersBackend", "PreTrainedTokenizerFast")
"""Tokenizer classes that need their file alone. AutoTokenizer builds the same, but first loads the code of all models,
which takes seconds."""


@cache
def _encoder(folder: str) -> Encoder:
    from transformers import PreTrainedTokenizerFast

    settings = Path(folder) / "tokenizer_config.json"
    own = json.loads(settings.read_text(encoding="utf-8")).get("tokenizer_class") if settings.exists() else None
    if own in _GENERIC and settings.with_name("tokenizer.json").exists():
        return Encoder(PreTrainedTokenizerFast.from_pretrained(folder))
    from transformers import AutoTokenizer

    return Encoder(AutoTokenizer.from_pretrained(folder))
