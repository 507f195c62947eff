"""What a run records of where its code came from."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from harness.provenance import git_state


def git(folder: Path, *arguments: str) -> None:
    name = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", str(folder), *name, *arguments], check=True, capture_output=True)


def test_the_state_of_a_repository_is_read_and_its_index_left_alone(tmp_path: Path) -> None:
    assert git_state(tmp_path / "nowhere") is None
    git(tmp_path, "init")
    file, index = tmp_path / "file", tmp_path / ".git" / "index"
    file.write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-m", "first")
    os.utime(file, (1, 1))  # git status would write down the new time
    before = index.read_bytes()
    found = git_state(tmp_path)
    assert found is not None
    assert (len(found["commit"]), found["dirty"]) == (40, False)
    assert index.read_bytes() == before
