"""Nodes and workers of a Ray cluster on this machine, and what may befall them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil

from tests.command import ROOT


@contextmanager
def started(count: int) -> Iterator[Any]:
    """A cluster of so many nodes, each with one CPU."""
    from ray.cluster_utils import Cluster

    environment = {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    with patch.dict(os.environ, environment):
        made = Cluster()
        try:
            for _ in range(count):
                add_node(made)
            yield made
        finally:
            made.shutdown()


def add_node(cluster: Any, **environment: str) -> Any:
    """Add a node, and wait until it has joined."""
    options = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 100 << 20, "env_vars": environment or None}
    head = {"include_dashboard": False} if cluster.head_node is None else {}
    return cluster.add_node(**options, **head)


def workers() -> list[psutil.Process]:
    """The processes of workers, sorted by their ids."""
    below = psutil.Process().children(recursive=True)
    found = []
    for process in below:
        try:
            if "ray::Worker" in " ".join(process.cmdline()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return sorted(found, key=lambda one: one.pid)


def finished(folder: Path) -> int:
    """Episodes that are on disk."""
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("*/episodes.jsonl"))
