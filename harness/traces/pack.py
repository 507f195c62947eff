"""Published entries: a finished run, compressed."""

from __future__ import annotations

import lzma
from pathlib import Path

from harness.errors import MixrouteError
from harness.files import write_atomically
from harness.traces.contamination import SEEN
from harness.traces.store import EPISODES, RUN, TIMINGS, read_episodes, read_meta


def pack_run(folder: Path, entries: Path) -> Path:
    """Write the run in ``folder`` as an entry below ``entries``; returns the entry's folder.

    Raises:
        MixrouteError: the run is not finished, or is corrupt.
    """
    meta = read_meta(folder)
    missing = set(meta.instances) - {episode.instance for episode in read_episodes(folder)}
    if missing:
        raise MixrouteError(f"{folder} lacks {len(missing)} of {len(meta.instances)} episodes: finish the run first")
    entry = entries / meta.id
    if entry.resolve() == folder.resolve():
        raise MixrouteError(f"{folder} is already an entry")
    for name in (EPISODES, TIMINGS, SEEN):
        if not (folder / name).exists():
            raise MixrouteError(f"{folder / name} does not exist: only a plain run can be packed")
    for name in (EPISODES, TIMINGS):
        write_atomically(entry / f"{name}.xz", lzma.compress((folder / name).read_bytes(), preset=9))
    write_atomically(entry / SEEN, (folder / SEEN).read_bytes())
    write_atomically(entry / RUN, (folder / RUN).read_bytes())
    return entry
