"""What the parts find, on disk at once, and the time that each of them may take."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from traceback import format_exc
from typing import Any


class Results:
    """Records, a line each in ``results.jsonl``, written as soon as they are known: a loan may end at any moment.

    Args:
        folder: Where to; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.records: list[dict[str, Any]] = []
        self._began = time.monotonic()
        self._file = (folder / "results.jsonl").open("a", encoding="utf-8")

    def add(self, part: str, **found: Any) -> None:
        """Write a record, and print it."""
        record = {"part": part, "at": round(time.monotonic() - self._began, 1), **found}
        self.records.append(record)
        line = json.dumps(record, default=str)
        self._file.write(line + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        print(line, flush=True)

    def save(self, name: str, content: Mapping[str, Any]) -> None:
        """Replace a file of JSON whole."""
        path = self.folder / name
        path.with_suffix(".new").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        path.with_suffix(".new").replace(path)

    def guarded(self, part: str, work: Callable[[], None], **about: Any) -> bool:
        """Do ``work``; a failure is recorded, and the parts that follow go on.

        Returns:
            Whether it went well.
        """
        try:
            work()
        except Exception as error:  # of PyTorch, CUDA or a check that failed
            self.add(part, **about, failed=f"{type(error).__name__}: {str(error)[:500]}", where=format_exc()[-800:])
            return False
        return True


class Budget:
    """Time that is left for a part."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds; negative when it is used up."""
        return self._end - time.monotonic()

    def share(self, part: float) -> Budget:
        """A budget of a part of what is left."""
        return Budget(max(0.0, self.left) * part)
