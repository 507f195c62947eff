"""A Ray cluster of three nodes on this machine, each a process of its own with one CPU."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.engine.cluster import nodes

# A token of the tests' own, whatever the user has: Ray reads them once, when it is imported.
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """The cluster, as ``ray.cluster_utils`` has it."""
    pytest.importorskip("ray", reason="Ray is not installed: make ray-env")
    with nodes.started(3) as made:
        yield made
