"""Child processes that do a piece of work, and are killed meanwhile.

They are forked from a process that has imported everything: a kill then hits the work, and not the start of Python.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.command import PATIENCE

Work = Callable[[], None]


def command(*arguments: str | Path) -> Work:
    """The work of ``mixroute`` with these arguments."""

    def work() -> None:
        from mixroute.__main__ import main

        sys.argv = ["mixroute", *map(str, arguments)]
        main()

    return work


@dataclass
class Child:
    """A process that works in ``folder``; what it prints is appended to the file ``log`` there.

    Args:
        work: What it does.
        folder: Where it does it; ``cache`` below it is its cache folder.
        env: Environment variables to set besides.
        largest: Most bytes of a file that it may write: what is longer fails as on a full disk.
    """

    work: Work
    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)
    largest: int | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._began = time.monotonic()
        self._pid = os.fork()
        if self._pid == 0:
            self._work_and_exit()
        with suppress(OSError):  # both do it, as either may come first
            os.setpgid(self._pid, self._pid)

    def _work_and_exit(self) -> None:
        code = 1
        try:
            os.setpgid(0, 0)
            log = os.open(self.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
            os.chdir(self.folder)
            os.environ.update({"MIXROUTE_CACHE": str(self.folder / "cache"), "COLUMNS": "200", **self.env})
            if self.largest is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (self.largest, resource.RLIM_INFINITY))
            self.work()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        except BaseException:  # pytest's own code must not go on in the child
            traceback.print_exc()
        finally:
            os._exit(code)

    def code(self, seconds: float = PATIENCE) -> int | None:
        """The exit code of a process that ends within so many seconds; None for one that is killed then."""
        deadline = self._began + seconds
        while time.monotonic() < deadline:
            ended, status = os.waitpid(self._pid, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        return None


def to_its_end(work: Work, folder: Path) -> float:
    """Let a process do its work; returns how many seconds it took."""
    began = time.monotonic()
    code = Child(work, folder).code()
    assert code == 0, f"exit code {code}\n{(folder / 'log').read_text(errors='replace')[-5000:]}"
    return time.monotonic() - began


@dataclass
class Killer:
    """Kills work at random moments and counts.

    Args:
        seconds: How long the work takes undisturbed; moments are drawn evenly from it.
        rng: Draws the moments.
    """

    seconds: float
    rng: random.Random
    kills: int = 0
    trials: int = 0

    def disturb(self, work: Work, folder: Path) -> None:
        """Start the work, and kill it unless it ends before."""
        code = Child(work, folder).code(self.rng.uniform(0, self.seconds))
        self.trials += 1
        self.kills += code is None
        assert code in (None, 0), f"exit code {code}\n{(folder / 'log').read_text(errors='replace')[-5000:]}"
