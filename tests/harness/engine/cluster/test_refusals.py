"""What keeps a run from going to a cluster: one line each, with the fix."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from harness.engine.cluster.connecting import Size
from harness.engine.cluster.executor import RayExecutor
from harness.engine.cluster.messages import RunMessage, WorkerInfo, check_same_files
from harness.plugins import open_router
from harness.pool import load_pool
from harness.provenance import source_of
from harness.suite import Suite, load_suite
from mixroute import MixrouteError
from tests.command import mixroute
from tests.harness.engine.cluster import nodes
from tests.small_suite import write_suite


def suite(folder: Path, pool: Path) -> Suite:
    return load_suite(str(write_suite(folder, pool)))


def refusal(executor: RayExecutor, folder: Path, pool: Path) -> str:
    """What is said when the models are to be loaded."""
    with (
        pytest.raises(MixrouteError) as refused,
        executor.open(suite(folder, pool), load_pool(str(pool)), reuse=False),
    ):
        pass
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_ray_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_pool: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "pip install 'mixroute[ray]'" in refusal(RayExecutor(), tmp_path, tiny_pool)


def test_options_of_ray_without_it(tmp_path: Path, tiny_pool: Path) -> None:
    write_suite(tmp_path, tiny_pool)
    refused = mixroute("run", "suite.yaml", "--workers", "2", cwd=tmp_path, code=2)
    assert refused.stderr == "error: --workers 2 goes with --executor ray alone: add that, or leave it out\n"


HELLO = WorkerInfo("a", {"code": "c", "hardware": {"cpu": "one"}}, {}, {"high": {"fingerprint": "f"}})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": {"code": "d", "hardware": {"cpu": "one"}}}, "code is 'c' at a and 'd' at b"),
        ({"kind": {"code": "c", "hardware": {"cpu": "two"}}}, "hardware.cpu is 'one' at a and 'two' at b"),
        ({"cards": {"high": {"fingerprint": "g"}}}, "fingerprint.high is 'f' at a and 'g' at b"),
        ({"cards": {"high": {"fingerprint": "f", "details": {"seconds": 2}}}}, ""),
    ],
)
def test_workers_with_other_code_machines_or_weights(changes: dict[str, Any], said: str) -> None:
    assert structs.replace(HELLO, where="b", **changes).differs_from(HELLO) == said


def test_a_worker_whose_files_are_not_the_drivers() -> None:
    router = open_router("always-high")
    message = RunMessage("h", 0, {}, {}, {}, {"data": "1"}, {"router": "2"}, source_of(type(router)), "")
    check_same_files(message, {"data": "1"}, {"router": "2"}, router)
    for protocol, content, key in (({"data": "3"}, {"router": "2"}, "data"), ({"data": "1"}, {}, "router")):
        with pytest.raises(MixrouteError, match=f"{key} is .* at the driver"):
            check_same_files(message, protocol, content, router)
    with pytest.raises(MixrouteError, match="source of the router"):
        check_same_files(message, {"data": "1"}, {"router": "2"}, open_router("random", p=0.5))


def test_workers_that_fit_on_a_node() -> None:
    node = {"CPU": 16.0, "GPU": 2.0}
    assert [Size(4, 0).on(node), Size(4, 1).on(node), Size(4, 0.5).on(node), Size(32, 0).on(node)] == [4, 2, 4, 0]
    assert Size(1, 1).on({"CPU": 4.0}) == 0


def test_no_cluster_at_the_address(tmp_path: Path, tiny_pool: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: make ray-env")
    said = refusal(RayExecutor("127.0.0.1:1"), tmp_path, tiny_pool)
    assert "no Ray cluster at '127.0.0.1:1'" in said
    assert "ray start --head" in said
    assert "RAY_AUTH_MODE=token" in said
    assert "give HOST:PORT" in refusal(RayExecutor("nowhere"), tmp_path, tiny_pool)
    assert "clients of Ray are not supported" in refusal(RayExecutor("ray://127.0.0.1:1"), tmp_path, tiny_pool)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"workers": 50, "cpus": 1}, "--workers 50, of 1 CPUs each: the Ray cluster has room for "),
        ({"workers": 1, "gpus": 1.0}, "has 1 CPUs and 1 GPUs for a worker"),
        ({"cpus": 64}, "has 64 CPUs for a worker"),
    ],
)
def test_more_than_the_cluster_has(
    cluster: Any, options: dict[str, Any], said: str, tmp_path: Path, tiny_pool: Path
) -> None:
    assert said in refusal(RayExecutor(cluster.address, **options), tmp_path, tiny_pool)


def test_nodes_of_two_kinds(cluster: Any, tmp_path: Path, tiny_pool: Path) -> None:
    other = nodes.add_node(cluster, OMP_NUM_THREADS="3")
    try:
        said = refusal(RayExecutor(cluster.address, cpus=1), tmp_path, tiny_pool)
    finally:
        cluster.remove_node(other, allow_graceful=False)
    assert "hardware.threads is" in said
    assert "give all workers nodes of one kind" in said


def test_a_worker_that_cannot_load_says_why(cluster: Any, tmp_path: Path) -> None:
    pool = tmp_path / "pool.yaml"
    pool.write_text("schema: 1\nname: none\nmodels: {high: {weights: nobody/nothing}}\n")
    said = refusal(RayExecutor(cluster.address, workers=1, cpus=1), tmp_path, pool)
    assert said.startswith("worker at ")
    assert "nobody/nothing" in said


def test_a_driver_without_the_token_of_the_cluster(cluster: Any, tmp_path: Path, tiny_pool: Path) -> None:
    write_suite(tmp_path, tiny_pool)
    (tmp_path / "empty").touch()
    none = {"RAY_AUTH_TOKEN": "", "RAY_AUTH_TOKEN_PATH": "empty"}
    command = ("run", "suite.yaml", "--executor", "ray", "--ray-address", cluster.address)
    refused = mixroute(*command, cwd=tmp_path, env=none, code=2)
    assert "the same token" in refused.stderr
    assert refused.stderr.count("\n") <= 2  # the first one says what is loaded
