"""Sharing of key-value caches among models, as pools and runs state it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from harness.config import Strict, check
from harness.text import quoted

KEY = "kv_cache"
"""The key of pools, and of a run's settings where models share a cache."""


class SharedCache(Strict):
    """Models of a pool that share one key-value cache in each episode; see docs/architecture.md."""

    shared: Annotated[list[str], AfterValidator(sorted)] = Field(min_length=2)
    """Names of the models, of one architecture, tokenizer and shape of keys and values."""
    reread: int = Field(default=0, ge=0)
    """Turns before the last one that a model which takes over reads anew, where another model has read them."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for name in self.shared:
            if self.shared.count(name) > 1:
                raise ValueError(f"'shared' names model {quoted(name)} twice: name each once")
        return self


def sharing_of(config: Mapping[str, Any], where: str) -> SharedCache | None:
    """The models that shared a cache in a run; None where each had its own.

    Args:
        config: The run's settings, unchecked.
        where: What an error names.

    Raises:
        MixrouteError: what the settings say of it is wrong.
    """
    stated = stated_sharing(config)
    return check(stated[KEY], SharedCache, f"{where}: config.{KEY}") if stated else None


def stated_sharing(config: Mapping[str, Any]) -> dict[str, Any]:
    """The setting ``kv_cache`` as it stands; empty where each model has its own cache."""
    return {KEY: config[KEY]} if config.get(KEY) is not None else {}
