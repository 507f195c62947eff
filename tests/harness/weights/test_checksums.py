"""Checksums of shipped checkpoints, which lie beside their folders."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.pool import SHIPPED as POOLS
from harness.pool import ModelSpec
from harness.weights.adapters import weights_folder
from harness.weights.checksums import SUMS, check_sum, file_sum
from mixroute import MixrouteError, open_router
from routers.dmr.checkpoint import SHIPPED as DMR
from routers.pyramid.checkpoint import SHIPPED as PYRAMID

WEIGHTS = {DMR: ["network.safetensors"], PYRAMID: ["router.json"], POOLS: ["adapter_model.safetensors"]}


@pytest.mark.parametrize("shipped", WEIGHTS, ids=lambda path: path.parent.name)
def test_every_shipped_checkpoint_has_the_checksum_of_its_weights(shipped: Path) -> None:
    lines = {name: digest for digest, name in (line.split("  ") for line in (shipped / SUMS).read_text().splitlines())}
    for name in WEIGHTS[shipped]:
        found = sorted(shipped.glob(f"*/{name}"))
        assert found
        for path in found:
            assert lines[f"{path.parent.name}/{name}"] == file_sum(path)


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def shipped_copy(shipped: Path, name: str, folder: Path) -> Path:
    folder.mkdir()
    shutil.copy(shipped / SUMS, folder)
    return Path(shutil.copytree(shipped / name, folder / name))


def test_one_wrong_bit_of_shipped_weights_is_found(tmp_path: Path) -> None:
    network = shipped_copy(DMR, "alfworld-kl-sft-k10", tmp_path / "dmr")
    assert open_router("kl-sft", checkpoint=str(network))
    flip(network / "network.safetensors", 2_000_000)
    with pytest.raises(MixrouteError, match="network.safetensors is damaged"):
        open_router("kl-sft", checkpoint=str(network))

    trees = shipped_copy(PYRAMID, "arith", tmp_path / "pyramid") / "router.json"
    check_sum(trees)
    content = trees.read_bytes()
    digit = next(place for place, byte in enumerate(content) if place > 5000 and byte == ord("2"))
    flip(trees, digit)  # a 3: still JSON, and another number
    with pytest.raises(MixrouteError, match="router.json is damaged"):
        open_router("pyramid", checkpoint=str(trees.parent))

    adapter = shipped_copy(POOLS, "arith-small", tmp_path / "pools")
    flip(adapter / "adapter_model.safetensors", 200_000)
    with pytest.raises(MixrouteError, match="adapter_model.safetensors is damaged"):
        weights_folder(ModelSpec(weights="nowhere", adapter=str(adapter)))
