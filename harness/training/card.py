"""Cards of trained weights and routers: what they were made from, and the instances that they were trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
from pydantic import Field

from harness.config import Strict
from harness.files import write_atomically
from harness.json_files import read_json
from harness.pool import ModelSpec
from harness.traces.contamination import file_beside_weights, write_seen
from harness.weights.checksums import CARD, file_sums


class AgentCard(Strict):
    """Facts about the trained weights of an agent."""

    schema_: Literal[1] = Field(alias="schema")
    name: str
    base: Any
    """The weights that training began from, as in the pool file, and their own card if they have one."""
    recipe: dict[str, Any]
    examples: int
    tokens: int
    """Tokens of one epoch, without padding."""
    learned_tokens: int
    """Tokens of one epoch that the loss was taken on."""
    updates: int
    seconds: float
    """Wall time of training, dev games included, over all sessions."""
    dev: list[dict[str, Any]]
    """Metrics of the dev games, by update."""
    provenance: dict[str, Any]


class AverageCard(Strict):
    """Facts about weights that are the mean of others."""

    schema_: Literal[1] = Field(alias="schema")
    name: str
    mean_of: list[Any]
    """The cards of the others; None for one without."""
    provenance: dict[str, Any]


class RouterCard(Strict):
    """Facts about a trained router, or about a model that was trained to route."""

    schema_: Literal[1] = Field(alias="schema")
    name: str
    recipe: dict[str, Any]
    pool: dict[str, str]
    """Fingerprint of each model that it was trained with."""
    facts: dict[str, Any]
    """Figures of this training, such as dev metrics and learning curves."""
    provenance: dict[str, Any]
    files: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of the files beside the card, by name; written by ``write_card``."""

    @property
    def trained_with(self) -> tuple[str, dict[str, str]]:
        """The pool, as the recipe names it, and its models' fingerprints; see ``harness.contracts.TrainedWithPool``."""
        return str(self.recipe.get("pool", "")), self.pool


def write_card(folder: Path, card: Strict | Mapping[str, Any], trained_on: Iterable[str]) -> None:
    """Write the card, with the SHA-256 of the files beside it, and the list of instances that the weights were trained
    on.

    Args:
        folder: Folder of the weights, which are in it already.
        card: Facts about them.
        trained_on: Instances, as ``instance_key`` names them.
    """
    write_seen(folder, trained_on)
    facts = card.model_dump(mode="json", by_alias=True) if isinstance(card, Strict) else dict(card)
    facts["files"] = file_sums(folder, without=(CARD,))
    write_atomically(folder / CARD, msgspec.json.format(msgspec.json.encode(facts), indent=1) + b"\n")


def read_card(spec: ModelSpec) -> Any:  # noqa: ANN401 - JSON
    """The card of a model's weights or adapter as JSON; None if there is none.

    Raises:
        MixrouteError: the card is damaged.
    """
    path = file_beside_weights(spec, CARD)
    if path is None:
        return None
    return read_json(path, dict[str, Any], "get the weights again, with their card")
