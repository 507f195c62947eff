"""Contamination: the instances that models and routers were trained on, which may not be reported."""

from __future__ import annotations

import lzma
from collections.abc import Iterable
from pathlib import Path

from harness.errors import MixrouteError
from harness.files import write_atomically
from harness.lines import read_xz
from harness.pool import ModelSpec, Pool
from harness.traces.siblings import read_pack, read_shared, sibling_file

SEEN = "trained_on.txt.xz"


def write_seen(folder: Path, seen: Iterable[str]) -> None:
    """Write the list of instances that something was trained on, named by ``instance_key``, into ``folder``."""
    lines = "".join(f"{line}\n" for line in sorted(set(seen)))
    write_atomically(folder / SEEN, lzma.compress(lines.encode()))


def seen_file(folder: Path) -> Path | None:
    """The list of ``folder``, which a packed entry may share with a sibling; None where there is none.

    Raises:
        MixrouteError: the sibling lacks it, or has another one.
    """
    pack = None if (folder / SEEN).exists() else read_pack(folder)
    if pack is None:
        return folder / SEEN if (folder / SEEN).exists() else None
    path = sibling_file(folder, pack.trained_on.entry, SEEN)
    read_shared(path, pack.trained_on)
    return path


def read_seen(folder: Path) -> frozenset[str]:
    """The list of ``folder``; empty where there is none.

    Raises:
        MixrouteError: it is damaged, or as ``seen_file``.
    """
    path = seen_file(folder)
    if path is None:
        return frozenset()
    try:
        return frozenset(read_xz(path).decode().splitlines())
    except UnicodeDecodeError as error:
        raise MixrouteError(f"{path} cannot be read ({error}): get it again, with the files beside it") from error


def instance_key(task: str, instance: str) -> str:
    """How the list names an instance."""
    return f"{task} {instance}"


def trained_on(spec: ModelSpec) -> frozenset[str]:
    """The instances that a model's weights or adapter were trained on, by ``instance_key``; none without a card.

    Raises:
        MixrouteError: the list is damaged.
    """
    path = file_beside_weights(spec, SEEN)
    return frozenset() if path is None else read_seen(path.parent)


def seen_by(pool: Pool) -> frozenset[str]:
    """The instances that some model of the pool was trained on; see ``trained_on``."""
    return frozenset().union(*(trained_on(spec) for spec in pool.models.values()))


def file_beside_weights(spec: ModelSpec, name: str) -> Path | None:
    """The file with this name beside the adapter, or beside the weights where there is none."""
    folder = spec.adapter or spec.weights
    path = Path(folder) / name if isinstance(folder, str) else None
    return path if path is not None and path.exists() else None
