"""File systems without locks: the message names the file and the way out."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path

import pytest

from harness.files import locked, locked_folder, made_once
from mixroute import MixrouteError


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.usefixtures("no_locks")
def test_a_folder_that_cannot_be_locked_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXROUTE_CACHE", str(tmp_path / "cache"))
    out = f"{tmp_path / 'runs' / '.lock'} cannot be locked .*No locks available.*--out for runs, MIXROUTE_CACHE"
    with pytest.raises(MixrouteError, match=out), locked_folder(tmp_path / "runs"):
        pass
    with pytest.raises(MixrouteError, match=r"cache/merged/a\.lock cannot be locked"):
        made_once("merged", "a", lambda target: target.mkdir())


def test_a_lock_is_held(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "a.lock"),
        pytest.raises(MixrouteError, match="a.lock is in use by another process"),
        locked(tmp_path / "a.lock", 0),
    ):
        pass
