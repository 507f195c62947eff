"""Checkpoints of the router: ``network.safetensors``, ``card.json`` (sizes, data, metrics) and the list of instances
that it was trained on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from harness.config import check
from harness.errors import MixrouteError
from harness.pool import ModelSpec
from harness.sharing import SharedCache
from harness.text import one_line
from harness.traces.contamination import trained_on
from harness.training import checkpoint
from harness.training.card import RouterCard, read_card, write_card
from harness.weights.checksums import check_sum
from routers.dmr.network import NetworkConfig, RouterNetwork

SHIPPED = Path(__file__).parent / "checkpoints"
WEIGHTS = "network.safetensors"


class DmrCard(RouterCard):
    """Facts about a trained router of stage one or two."""

    stage: str
    """``kl-sft`` or ``dmr``."""
    network: NetworkConfig
    kv_cache: SharedCache | None = None
    """Models of the pool that shared key-value caches while it was trained; None where none did."""


def save_checkpoint(folder: Path, network: RouterNetwork, card: DmrCard, seen: Collection[str]) -> None:
    """Write a checkpoint atomically."""
    with checkpoint.atomic_folder(folder) as made:
        save_file({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, made / WEIGHTS)
        write_card(made, card, seen)


def find_checkpoint(name: str) -> Path:
    """See ``harness.training.checkpoint.find_checkpoint``."""
    return checkpoint.find_checkpoint(name, SHIPPED, WEIGHTS)


def load_checkpoint(folder: Path) -> tuple[RouterNetwork, DmrCard, frozenset[str]]:
    """Network, card, and the instances that it was trained on.

    Raises:
        MixrouteError: a file is missing or damaged.
    """
    where = ModelSpec(weights=str(folder))
    found: Mapping[str, Any] | None = read_card(where)
    if found is None:
        raise MixrouteError(f"{folder} has no card.json: get the checkpoint again, with its card")
    card = check(dict(found), DmrCard, str(folder / "card.json"))
    check_sum(folder / WEIGHTS)
    network = RouterNetwork(card.network)
    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise MixrouteError(
            f"{folder / WEIGHTS} cannot be read: {one_line(error)}: get the checkpoint again"
        ) from error
    return network.eval(), card, trained_on(where)
