"""Connecting to a Ray cluster, and the room that it has for workers."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from harness.errors import MixrouteError
from harness.text import one_line, quoted

ADDRESS = "RAY_ADDRESS"
INSTALL = "pip install 'mixroute[ray]'"
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "error",
}
_NOT_BY_PORT = ("auto", "local")
"""Addresses that Ray itself finds: the cluster that this machine is part of, and a new one."""
_PATIENCE = 10.0
"""Seconds to wait for a port."""


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connect this process to a cluster until the block ends; one that is connected already stays so.

    Args:
        address: The cluster's address, such as ``10.0.0.1:6379`` or ``auto``; that of ``$RAY_ADDRESS`` if not given.
            Without either, a cluster of this machine alone is started.

    Raises:
        MixrouteError: Ray is not installed, or there is no such cluster, or one of another version.
    """
    # Read when Ray is imported. Nothing is sent anywhere, and each failed try at a cluster does not print a line.
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        from ray.exceptions import RayError
    except ImportError as error:
        raise MixrouteError(f"executor 'ray' needs Ray, which is not installed ({error}): {INSTALL}") from error
    if ray.is_initialized():
        yield
        return
    named = address or os.environ.get(ADDRESS) or None
    if named is not None and "://" in named:
        raise MixrouteError(
            f"--ray-address {quoted(named)}: clients of Ray are not supported; start the run on a machine of the "
            "cluster, with its address as HOST:PORT or 'auto'"
        )
    if named not in (None, *_NOT_BY_PORT):
        _check_port(named)
    quiet = {"log_to_driver": False, "logging_level": "error"}
    try:
        if named is None:
            ray.init(include_dashboard=False, **quiet)
        else:
            ray.init(address=named, **quiet)
    except ConnectionError as error:
        raise _no_cluster(named, error) from error
    except (RayError, RuntimeError, ValueError, OSError) as error:
        raise MixrouteError(
            f"the Ray cluster at {quoted(named)} cannot be used ({one_line(error)}): give all nodes and this machine "
            f"the same versions of Python and Ray ({INSTALL}), and the same token, if they have one"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_port(named: str) -> None:
    """Check that something listens at an address: Ray itself would try for minutes.

    Raises:
        MixrouteError: nothing does.
    """
    host, _, port = named.rpartition(":")
    if not host or not port.isdecimal():
        raise MixrouteError(f"--ray-address {quoted(named)}: give HOST:PORT, such as 10.0.0.1:6379, or auto")
    try:
        socket.create_connection((host, int(port)), _PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(named, error) from error


def _no_cluster(named: str | None, error: Exception) -> MixrouteError:
    return MixrouteError(
        f"there is no Ray cluster at {quoted(named)}, or it asks for a token ({one_line(error)}): start one (ray start "
        f"--head), correct --ray-address or {ADDRESS}, or set RAY_AUTH_MODE=token here as where it was started"
    )


@dataclass(frozen=True, slots=True)
class Size:
    """What a worker takes."""

    cpus: float
    gpus: float

    def __str__(self) -> str:
        return f"{self.cpus:g} CPUs" + (f" and {self.gpus:g} GPUs" if self.gpus else "")

    def on(self, resources: Mapping[str, float]) -> int:
        """So many workers fit on a node."""
        fitting = [resources.get(name, 0.0) // one for name, one in (("CPU", self.cpus), ("GPU", self.gpus)) if one]
        return int(min(fitting))


def nodes() -> list[dict[str, float]]:
    """The resources of each node of the cluster that is alive."""
    import ray

    return [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]


def size_of_workers(cpus: float | None, gpus: float) -> Size:
    """What a worker takes: if its CPUs are not given, a node's, or with GPUs its share of them.

    Raises:
        MixrouteError: no node has room for one.
    """
    found = nodes()
    if cpus is None:
        shares = [node.get("CPU", 0.0) // _at_once(node, gpus) for node in found if _at_once(node, gpus)]
        cpus = max(1.0, min((one for one in shares if one), default=1.0))
    size = Size(cpus, gpus)
    if not capacity(size):
        raise MixrouteError(
            f"no node of the Ray cluster has {size} for a worker (nodes: {_described(found)}): correct "
            "--cpus-per-worker and --gpus-per-worker, or add nodes"
        )
    return size


def capacity(size: Size) -> int:
    """So many workers fit on the cluster, if nobody else uses it."""
    return sum(map(size.on, nodes()))


def check_capacity(workers: int, size: Size) -> None:
    """Check that the cluster has room for workers.

    Raises:
        MixrouteError: it has not.
    """
    if (most := capacity(size)) < workers:
        raise MixrouteError(
            f"--workers {workers}, of {size} each: the Ray cluster has room for {most} (nodes: {_described(nodes())}): "
            "ask for fewer or smaller ones, or add nodes"
        )


def _at_once(node: Mapping[str, float], gpus: float) -> int:
    """So many workers a node's GPUs allow."""
    return int(node.get("GPU", 0.0) // gpus) if gpus else 1


def _described(found: list[dict[str, float]]) -> str:
    return ", ".join(f"{node.get('CPU', 0):g} CPUs + {node.get('GPU', 0):g} GPUs" for node in found[:8]) or "none"


def ray_version() -> dict[str, Any]:
    """The version of Ray, for the provenance."""
    import ray

    return {"ray": ray.__version__}
