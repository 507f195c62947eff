"""Labelling, whose episodes a cluster may play: the labels are those of a local run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.command import mixroute
from tests.routers.dmr.test_label import write_recipe


def test_labels_of_episodes_that_a_cluster_played(cluster: Any, tmp_path: Path, tiny_pool: Path) -> None:
    """The router that plays is one that a decorator registers, in a module that a worker has to import."""
    task = {"task": "alfworld-gen", "split": "train", "args": {"games": 4, "seed": 9000, "step_cap": 3}}
    label = ("label", write_recipe(tmp_path, tiny_pool, tasks=[task]), "--deterministic", "--out")
    mixroute(*label, "local", cwd=tmp_path)
    ray = ("--executor", "ray", "--workers", "2", "--cpus-per-worker", "1", "--ray-address", cluster.address)
    mixroute(*label, "ray", *ray, cwd=tmp_path)
    for name in ("episodes.jsonl", "labels.jsonl"):
        (ours,), (theirs,) = ((tmp_path / folder).glob(f"labels/*/{name}") for folder in ("local", "ray"))
        assert ours.read_bytes() == theirs.read_bytes()
