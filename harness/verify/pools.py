"""The pools of entries: shipped ones, and those that whoever verifies gives. An entry names a pool and no file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.config import shipped_names
from harness.errors import MixrouteError
from harness.pool import SHIPPED, Pool, load_pool
from harness.weights.schemes import SCHEMES

Pools = Mapping[str, Pool]
"""Pools beside the shipped ones, by name."""


def read_pools(files: Iterable[Path]) -> dict[str, Pool]:
    """The pools of these files, by name.

    Raises:
        MixrouteError: a file is no pool, or a shipped pool has its name.
    """
    pools = {}
    for file in files:
        pool = load_pool(str(file))
        if pool.name in shipped_names(SHIPPED):
            raise MixrouteError(f"{file}: '{pool.name}' is a shipped pool: give this one another name")
        pools[pool.name] = pool
    return pools


def with_its_tokenizers(name: str) -> list[str]:
    """The pools that have the tokenizers of this one: itself, and the one that ``mixroute quantize`` made it of, which
    is ``ladder`` for ``ladder-gptq-w4``.
    """
    return [name, *(name.removesuffix(f"-{scheme}") for scheme in SCHEMES if name.endswith(f"-{scheme}"))]


def pool_of(name: str, pools: Pools) -> Pool:
    """The pool that an entry names.

    Raises:
        MixrouteError: it is neither shipped nor given.
    """
    if name in pools:
        return pools[name]
    if name not in shipped_names(SHIPPED):
        raise MixrouteError(f"pool '{name[:100]}' is not shipped: give its file with --pool")
    return load_pool(name)
