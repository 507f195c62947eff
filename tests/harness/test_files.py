"""Files are replaced as a whole, whoever else writes them, and what a kill leaves behind is removed."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from harness.files import replacing, write_atomically


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_two_may_write_one_file_at_the_same_time(tmp_path: Path) -> None:
    path = tmp_path / "board.md"
    with replacing(path) as first, replacing(path) as second:
        first.write(b"first " * 1000)
        second.write(b"second")
    assert path.read_bytes() == b"first " * 1000  # its block ended last
    assert names(tmp_path) == ["board.md"]


def test_what_a_killed_process_left_is_removed_and_what_others_write_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a[1].json"
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom harness.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half')\n    file.flush()\n    os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, path], check=False).returncode == -9
    assert len(names(tmp_path)) == 1
    with replacing(path) as ours:
        write_atomically(path, b"another's")
        ours.write(b"ours")
    assert path.read_bytes() == b"ours"
    assert names(tmp_path) == ["a[1].json"]


def test_a_block_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomically(path, b"old")
    with pytest.raises(OSError, match="full") as caught, replacing(path) as file:
        file.write(b"new")
        raise OSError(errno.ENOSPC, "full")
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]
