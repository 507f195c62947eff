"""The one way by which tests find data that is never committed: ``../shared`` beside the repository."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def shared(*parts: str) -> Path:
    """A file or folder of the shared data; skips the test where it is missing.

    ``$MIXROUTE_SHARED`` names another place for it.
    """
    root = Path(os.environ.get("MIXROUTE_SHARED") or REPOSITORY.parent / "shared")
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is missing: the shared data is not part of the repository (see $MIXROUTE_SHARED)")
    return path
