"""Options of commands that play: which executor does, and how many workers it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.errors import MixrouteError

if TYPE_CHECKING:
    from harness.engine.executor import Executor

Name = Annotated[
    Literal["local", "ray"],
    typer.Option("--executor", help="local: this process plays; ray: workers on a Ray cluster."),
]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Workers of executor ray; as many as fit if not given.")
]
RayAddress = Annotated[
    str | None,
    typer.Option("--ray-address", help="HOST:PORT of the cluster, or auto; else $RAY_ADDRESS, else this machine."),
]
CpusPerWorker = Annotated[
    int | None, typer.Option("--cpus-per-worker", min=1, help="CPUs and threads of each; a node's if not given.")
]
GpusPerWorker = Annotated[float, typer.Option("--gpus-per-worker", min=0, help="GPUs of each, such as 1 or 0.5.")]


def executor_for(name: str, workers: int | None, address: str | None, cpus: int | None, gpus: float) -> Executor:
    """The executor that a command's options ask for.

    Raises:
        MixrouteError: options that go with executor ray alone.
    """
    if name == "ray":
        from harness.engine.cluster.executor import RayExecutor

        return RayExecutor(address, workers=workers, cpus=cpus, gpus=gpus)
    given = {
        "--workers": workers,
        "--ray-address": address,
        "--cpus-per-worker": cpus,
        "--gpus-per-worker": gpus or None,
    }
    for option, value in given.items():
        if value is not None:
            raise MixrouteError(f"{option} {value} goes with --executor ray alone: add that, or leave it out")
    from harness.engine.executor import LocalExecutor

    return LocalExecutor()
