"""Finding the original ALFWorld engine, for the tests that play it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from harness.errors import MixrouteError
from tasks.alfworld.original import package_logic
from tests.shared_data import REPOSITORY

_VARIABLE = "MIXROUTE_TEXTWORLD_PYTHON"


@contextmanager
def original_engine() -> Iterator[None]:
    """Makes the original engine usable; skips where no Python has it.

    It is looked for at ``$MIXROUTE_TEXTWORLD_PYTHON``, in ``.venv-alfworld`` at the repository root (``make
    alfworld-env``), and in this Python.
    """
    own = REPOSITORY / ".venv-alfworld" / "bin" / "python"
    candidates = [os.environ.get(_VARIABLE), str(own) if own.exists() else None, sys.executable]
    with pytest.MonkeyPatch.context() as patch:
        for candidate in filter(None, candidates):
            patch.setenv(_VARIABLE, candidate)
            try:
                package_logic()
            except MixrouteError:
                continue
            yield
            return
    pytest.skip(
        "the original ALFWorld engine is not installed: run 'make alfworld-env', or set $MIXROUTE_TEXTWORLD_PYTHON"
    )
