"""The record of an offered model: runs of sessions that ended, and a journal of the steps of those that are open."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from harness.data import Instance
from harness.engine.episode import LiveEpisode
from harness.engine.identity import check_source
from harness.files import Record, replacing
from harness.lines import read_lines
from harness.records import StepRecord, StepTiming
from harness.serving.offers import JUDGED, UNJUDGED, Offer
from harness.traces.appending import GrowingFile
from harness.traces.contamination import write_seen
from harness.traces.index import Named, placed_lines
from harness.traces.store import TraceWriter

log = logging.getLogger(__name__)

_MOST_DEAD = 16 << 20
"""Bytes of closed sessions in a journal at which it is written anew."""


class OpenStep(Record, frozen=True):
    """A finished step of an open session: a line of the journal."""

    instance: str
    step: StepRecord
    timing: StepTiming


@dataclass(frozen=True, slots=True)
class EndedSession:
    """A session that is over."""

    live: LiveEpisode
    score: float | None = None
    """As its client judges it; None where it does not."""
    success: bool = False
    error: str | None = None
    """What its last request ended in, if that was an error."""


class OfferRecord:
    """The record of one offered model, in two runs: sessions of known and of unknown outcome.

    The steps of open sessions are in a journal beside them, which outlives a kill of the process: what is found there
    at the next start is recorded as sessions that ended.

    Args:
        offer: The model.
        out: Folder of the runs.

    Raises:
        MixrouteError: a folder holds another run, or a damaged one; the router's source has changed since it was begun.
    """

    def __init__(self, offer: Offer, out: Path) -> None:
        self._offer = offer
        self._out = out
        self._writers: dict[str, TraceWriter] = {}
        self._lock = threading.Lock()
        self._path = out / f"{offer.metas[UNJUDGED].id}.open.jsonl"
        self._dead = 0
        self._sizes: dict[str, int] = {}
        for split, meta in offer.metas.items():
            if (out / meta.id).exists():
                check_source(out / meta.id, meta)
                self._writer(split)
        self._recover()
        self._journal = GrowingFile(self._path, flushed=False)

    @property
    def names(self) -> set[str]:
        """Instances that are recorded."""
        return {name for writer in self._writers.values() for name in writer.episodes}

    def note(self, instance: str, line: bytes) -> None:
        """Put a step of an open session into the journal.

        Raises:
            RunStopped: it cannot be written.
        """
        with self._lock:
            _, size = self._journal.append(line + b"\n")
            self._sizes[instance] = self._sizes.get(instance, 0) + size

    def write(self, ended: Sequence[EndedSession]) -> None:
        """Record sessions; those that are recorded already are passed over.

        Raises:
            MixrouteError: they cannot be written.
            OSError: likewise.
        """
        for split in (JUDGED, UNJUDGED):
            own = [one for one in ended if (split == JUDGED) == (one.score is not None)]
            if own:
                self._append(split, own)
        with self._lock:
            self._dead += sum(self._sizes.pop(one.live.instance.id, 0) for one in ended)
            if self._dead > max(_MOST_DEAD, sum(self._sizes.values())):
                self._compact()

    def close(self) -> None:
        """Close the files, and delete the journal of sessions that are all recorded.

        Raises:
            MixrouteError: the folder of a run was deleted.
        """
        for writer in self._writers.values():
            writer.close()
        self._journal.close()
        if not self._sizes:
            self._path.unlink(missing_ok=True)

    def _writer(self, split: str) -> TraceWriter:
        if split not in self._writers:
            meta = self._offer.metas[split]
            self._writers[split] = TraceWriter(self._out / meta.id, meta, play_again=False)
            write_seen(self._writers[split].folder, self._offer.seen)
        return self._writers[split]

    def _append(self, split: str, ended: Iterable[EndedSession]) -> None:
        writer, meta = self._writer(split), self._offer.metas[split]
        missing = [one for one in ended if one.live.instance.id not in writer.episodes]
        writer.expect(one.live.instance.id for one in missing)  # readers refuse an episode of any other
        for one in missing:
            live = one.live
            if one.score is not None and live.steps:
                live.steps[-1] = replace(live.steps[-1], reward=one.score)
            writer.append(*live.finish(meta.hash, meta.seed, success=one.success, error=one.error))

    def _recover(self) -> None:
        """Record the sessions that were open when the process was killed."""
        found: dict[str, LiveEpisode] = {}
        recorded = self.names
        for line in read_lines(self._path, OpenStep):
            if line.instance not in recorded:
                live = found.setdefault(line.instance, LiveEpisode(Instance(line.instance), done=True))
                live.steps.append(line.step)
                live.timings.append(line.timing)
        if found:
            log.warning("%s: %d sessions were open when the server ended: they are recorded", self._path, len(found))
            self._append(UNJUDGED, [EndedSession(live) for live in found.values()])
        self._path.unlink(missing_ok=True)

    def _compact(self) -> None:
        """Write the journal anew with the open sessions alone."""
        self._journal.close()
        with self._path.open("rb") as lines, replacing(self._path) as handle:
            for line, start, size in placed_lines(self._path, Named):
                if line.instance in self._sizes:
                    lines.seek(start)
                    handle.write(lines.read(size))
        self._journal = GrowingFile(self._path, flushed=False)
        self._dead = 0
