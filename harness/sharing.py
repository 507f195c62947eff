"""Sharing of key-value caches among models, as pools and runs state it."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from harness.config import Strict
from harness.text import quoted


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
