"""Files of lines that grow while a run is played."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from harness.errors import RunStopped


class GrowingFile:
    """A file to which whole lines are appended: after an error it ends where it ended before.

    Args:
        path: The file; it is made if need be.
        flushed: Whether each line is on the disk before ``append`` returns. Otherwise a line outlives the end of the
            process, and not that of the machine.
    """

    def __init__(self, path: Path, *, flushed: bool = True) -> None:
        self._path = path
        self._flushed = flushed
        self._handle = path.open("ab", buffering=0)
        self._torn = False

    def append(self, line: bytes) -> tuple[int, int]:
        """Append a line; returns its first byte and size.

        Raises:
            RunStopped: it cannot be written, or the file is no longer there.
        """
        if self._torn:
            raise RunStopped(f"{self._path} was not written to its end: give the same command again")
        number = self._handle.fileno()
        end = os.fstat(number).st_size
        try:
            left = memoryview(line)
            while left:
                left = left[self._handle.write(left) :]
            if self._flushed:
                os.fsync(number)
        except OSError as error:
            self._torn = True
            with suppress(OSError):
                os.ftruncate(number, end)
                self._torn = False
            raise RunStopped(
                f"{self._path} cannot be written ({error.strerror}): finished episodes are kept; once that is solved, "
                "the same command goes on from here"
            ) from error
        self.check()
        return end, len(line)

    def check(self) -> None:
        """Check that the file is still there.

        Raises:
            RunStopped: it was deleted, moved or replaced.
        """
        with suppress(OSError):
            if os.path.samestat(os.fstat(self._handle.fileno()), self._path.stat()):
                return
        raise RunStopped(
            f"{self._path} was deleted or replaced while the run was played, and its episodes with it: put the folder "
            "back, or give the same command again to play them anew"
        )

    def close(self) -> None:
        """Close the file, once it is checked."""
        try:
            self.check()
        finally:
            self._handle.close()
