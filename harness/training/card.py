"""The card of trained weights: what they were made from, and which instances they have seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import MixrouteError
from harness.files import write_atomically
from harness.pool import ModelSpec
from harness.traces.contamination import file_beside_weights, write_seen

CARD = "card.json"


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Facts about trained weights, as JSON beside them."""

    schema: int
    name: str
    base: Any
    """The weights that training began from, as in the pool file, and their own card if they have one."""
    recipe: Mapping[str, Any]
    examples: int
    tokens: int
    """Tokens of one epoch, padding aside."""
    learned_tokens: int
    """Tokens of one epoch that the loss was taken on."""
    updates: int
    seconds: float
    """Wall time of training, dev games included, over all sessions."""
    dev: Sequence[Mapping[str, Any]]
    """What the dev games gave, by update."""
    provenance: Mapping[str, Any]


def write_card(folder: Path, card: Card | Mapping[str, Any], seen: Iterable[str]) -> None:
    """Write the card and the list of instances that the weights were trained on.

    Args:
        folder: The weights'.
        card: Facts; a mapping for weights that were not trained but made from trained ones.
        seen: Instances, as ``instance_key`` names them.
    """
    write_seen(folder, seen)
    write_atomically(folder / CARD, msgspec.json.format(msgspec.json.encode(card), indent=1) + b"\n")


def read_card(spec: ModelSpec) -> Any:  # noqa: ANN401 - JSON
    """The card of a model's weights or adapter; None for those without.

    Raises:
        MixrouteError: it is damaged.
    """
    path = file_beside_weights(spec, CARD)
    if path is None:
        return None
    try:
        return msgspec.json.decode(path.read_bytes())
    except (msgspec.DecodeError, OSError) as error:
        raise MixrouteError(f"{path} cannot be read ({error}): get the weights again, with their card") from error
