"""Checkpoints of the router: ``network.safetensors``, ``card.json`` (sizes, data, command, figures) and the list of
instances that it was trained on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from harness.config import Strict, check
from harness.errors import MixrouteError
from harness.pool import ModelSpec
from harness.traces.contamination import trained_on
from harness.training import checkpoint
from harness.training.card import read_card, write_card
from routers.dmr.network import NetworkConfig, RouterNetwork

SHIPPED = Path(__file__).parent / "checkpoints"
WEIGHTS = "network.safetensors"


class RouterCard(Strict):
    """Facts about a trained router."""

    schema_: int = Field(1, alias="schema")
    name: str
    stage: str
    """``kl-sft`` or ``dmr``."""
    network: NetworkConfig
    recipe: dict[str, Any]
    pool: dict[str, str]
    """Fingerprint of each model that it was trained with."""
    facts: dict[str, Any]
    """Of this training: label rate, lambda, curves, dev figures."""
    provenance: dict[str, Any]


def save_checkpoint(folder: Path, network: RouterNetwork, card: RouterCard, seen: Collection[str]) -> None:
    """Write a checkpoint whole or not at all."""
    with checkpoint.made_whole(folder) as made:
        save_file({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, made / WEIGHTS)
        write_card(made, card.model_dump(mode="json", by_alias=True), seen)


def find_checkpoint(name: str) -> Path:
    """See ``harness.training.checkpoint.find_checkpoint``."""
    return checkpoint.find_checkpoint(name, SHIPPED, WEIGHTS)


def load_checkpoint(folder: Path) -> tuple[RouterNetwork, RouterCard, frozenset[str]]:
    """Network, card, and the instances that it was trained on.

    Raises:
        MixrouteError: a file is missing or damaged.
    """
    where = ModelSpec(weights=str(folder))
    found: Mapping[str, Any] | None = read_card(where)
    if found is None:
        raise MixrouteError(f"{folder} has no card.json: get the checkpoint again, with its card")
    card = check(dict(found), RouterCard, str(folder / "card.json"))
    network = RouterNetwork(card.network)
    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise MixrouteError(f"{folder / WEIGHTS} cannot be read: {reason}: get the checkpoint again") from error
    return network.eval(), card, trained_on(where)
