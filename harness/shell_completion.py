"""Names that the shell completes: of plug-ins, suites, pools and ``.yaml`` files. Imports only what it needs to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def complete_suite(incomplete: str) -> list[str]:
    """Shipped suites and ``.yaml`` files."""
    from harness import suite

    return _files(suite.SHIPPED, incomplete)


def complete_pool(incomplete: str) -> list[str]:
    """Shipped pools and ``.yaml`` files."""
    from harness import pool

    return _files(pool.SHIPPED, incomplete)


def complete_scaffold(incomplete: str) -> list[str]:
    """Shipped scaffolds and ``.yaml`` files."""
    from harness import scaffolds

    return _files(scaffolds.SHIPPED, incomplete)


PoolName = Annotated[
    str,
    typer.Argument(metavar="POOL", help="Name of a shipped pool, or a .yaml file.", autocompletion=complete_pool),
]


def complete_router(incomplete: str) -> list[str]:
    """Names of routers."""
    from harness.registry import routers

    return [name for name in routers.names() if name.startswith(incomplete)]


def complete_task(incomplete: str) -> list[str]:
    """Names of tasks."""
    from harness.registry import tasks

    return [name for name in tasks.names() if name.startswith(incomplete)]


def _files(shipped: Path, incomplete: str) -> list[str]:
    from harness.config import shipped_names

    folder, slash, _ = incomplete.rpartition("/")
    prefix = folder + slash
    own = sorted(prefix + path.name for path in Path(prefix or ".").glob("*.yaml"))
    return [name for name in [*shipped_names(shipped), *own] if name.startswith(incomplete)]
