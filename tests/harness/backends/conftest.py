"""Weights that several tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_model import save_tiny_model


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two models of one architecture and other weights, and a third."""
    found = {}
    for seed, name in enumerate(("high", "low", "other")):
        found[name] = tmp_path_factory.mktemp("weights") / name
        save_tiny_model(found[name], seed)
    return found
