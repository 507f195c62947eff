"""Folders of checkpoints: written atomically, and found by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import MixrouteError
from harness.files import scratch_folder


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """A scratch folder that is renamed to ``folder`` when the block ends, and deleted if the block fails."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(folder.parent) as scratch:
        made = scratch / "checkpoint"
        made.mkdir()
        yield made
        made.replace(folder)


def find_checkpoint(name: str, shipped: Path, weights: str) -> Path:
    """The folder of a shipped checkpoint, or of one that is given by its path.

    Args:
        name: Name of a folder in ``shipped``, or a path.
        shipped: Folder of the checkpoints that come with the program.
        weights: Name of the file that each checkpoint holds.

    Raises:
        MixrouteError: there is no such checkpoint.
    """
    for folder in (shipped / name, Path(name)):
        if (folder / weights).is_file():
            return folder
    known = sorted(path.parent.name for path in shipped.glob(f"*/{weights}"))
    raise MixrouteError(f"checkpoint '{name}': no {weights} there; shipped: {', '.join(known) or 'none'}")
