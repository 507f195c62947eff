"""Running the command ``mixroute`` as a user does, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
PATIENCE = 1800.0
"""Seconds after which a test gives up on a process: many times what any takes, so that slow machines pass too."""


def start(*arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start ``mixroute`` with the arguments."""
    return subprocess.Popen(
        [sys.executable, "-m", "mixroute", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "160", **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def mixroute(
    *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None, code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run ``mixroute`` to its end and check its exit code."""
    process = start(*arguments, cwd=cwd, env=env)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, f"exit code {process.returncode}\n{out}\n{err}"
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def wait_until(happened: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait for something that a running ``mixroute`` does before it ends."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        if process.poll() is not None:
            out, err = process.communicate()
            raise AssertionError(f"it ended too early, with exit code {process.returncode}\n{out}\n{err}")
        assert time.monotonic() < deadline
        time.sleep(0.005)
