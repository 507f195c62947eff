"""Where downloads and converted weights are kept: ``$MIXROUTE_CACHE``, or the platform's cache folder."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path


def cache_folder(*parts: str) -> Path:
    """A folder below the cache root; it may not exist yet."""
    root = os.environ.get("MIXROUTE_CACHE")
    return (Path(root) if root else user_cache_path("mixroute")).joinpath(*parts)


def made_once(kind: str, identity: str, make: Callable[[Path], None]) -> Path:
    """The cached folder ``kind/identity``; ``make`` writes it the first time, and processes wait for one another.

    ``make`` gets the path to write to; the folder around it is its own, for whatever it needs on the way.
    """
    folder = cache_folder(kind, identity)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
                made = Path(scratch) / "made"
                make(made)
                made.replace(folder)
    return folder
