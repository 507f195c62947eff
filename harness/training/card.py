"""The card of trained weights: what they were made from, and which instances they have seen."""

from __future__ import annotations

import lzma
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import MixrouteError
from harness.pool import ModelSpec, Pool
from harness.trace import write_atomically

CARD = "card.json"
SEEN = "trained_on.txt.xz"


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
        seen: Instances, as ``seen_as`` names them.
    """
    write_seen(folder, seen)
    write_atomically(folder / CARD, msgspec.json.format(msgspec.json.encode(card), indent=1) + b"\n")


def write_seen(folder: Path, seen: Iterable[str]) -> None:
    """Write the list of instances that something was trained on, named by ``seen_as``, into ``folder``."""
    lines = "".join(f"{line}\n" for line in sorted(set(seen)))
    write_atomically(folder / SEEN, lzma.compress(lines.encode()))


def read_seen(folder: Path) -> frozenset[str]:
    """The list in ``folder``; empty where there is none.

    Raises:
        MixrouteError: it is damaged.
    """
    path = folder / SEEN
    if not path.exists():
        return frozenset()
    try:
        return frozenset(lzma.decompress(path.read_bytes()).decode().splitlines())
    except (lzma.LZMAError, UnicodeDecodeError, OSError) as error:
        raise MixrouteError(f"{path} cannot be read ({error}): get it again, with the files beside it") from error


def seen_as(task: str, instance: str) -> str:
    """How the list names an instance."""
    return f"{task} {instance}"


def read_card(spec: ModelSpec) -> Any:  # noqa: ANN401 - JSON
    """The card of a model's weights or adapter; None for those without.

    Raises:
        MixrouteError: it is damaged.
    """
    path = _beside(spec, CARD)
    if path is None:
        return None
    try:
        return msgspec.json.decode(path.read_bytes())
    except (msgspec.DecodeError, OSError) as error:
        raise MixrouteError(f"{path} cannot be read ({error}): get the weights again, with their card") from error


def trained_on(spec: ModelSpec) -> frozenset[str]:
    """The instances that a model's weights or adapter were trained on, by ``seen_as``; none for those without a card.

    Raises:
        MixrouteError: the list is damaged.
    """
    path = _beside(spec, SEEN)
    return frozenset() if path is None else read_seen(path.parent)


def seen_by(pool: Pool) -> frozenset[str]:
    """The instances that some model of the pool was trained on; see ``trained_on``."""
    return frozenset().union(*(trained_on(spec) for spec in pool.models.values()))


def _beside(spec: ModelSpec, name: str) -> Path | None:
    """The file with this name beside the adapter, or beside the weights where there is none."""
    folder = spec.adapter or spec.weights
    path = Path(folder) / name if isinstance(folder, str) else None
    return path if path is not None and path.exists() else None
