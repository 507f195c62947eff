"""Honest entries of a tiny model, for the checks of answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.pool import load_pool
from harness.verify.pools import Pools
from tests.harness.verify.writer import play, save_pool


@pytest.fixture(scope="session")
def writer_pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pool(tmp_path_factory.mktemp("pool"))


@pytest.fixture(scope="session")
def writer_pools(writer_pool: Path) -> Pools:
    return {"writer": load_pool(str(writer_pool))}


@pytest.fixture(scope="session")
def writer_entries(tmp_path_factory: pytest.TempPathFactory, writer_pool: Path) -> Path:
    """Entries of four routers, one of which routes within answers."""
    by_token = {"router": "token-entropy", "args": {"threshold": 5.53, "chunk": 4}}
    routers = ["always-high", "always-low", {"router": "random", "args": {"p": 0.5}}, by_token]
    return play(tmp_path_factory.mktemp("honest"), writer_pool, routers)
