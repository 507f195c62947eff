"""The record of sessions: a run for each model that is offered, and a journal of the steps of open sessions."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from harness.data import Instance
from harness.engine.episode import LiveEpisode
from harness.engine.identity import check_source
from harness.errors import MixrouteError
from harness.files import Record, replacing
from harness.lines import read_lines
from harness.records import StepRecord, StepTiming
from harness.serving.offers import JUDGED, UNJUDGED, Offer
from harness.text import one_line
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
class Ended:
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

    def write(self, ended: Sequence[Ended]) -> None:
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

    def _append(self, split: str, ended: Iterable[Ended]) -> None:
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
            self._append(UNJUDGED, [Ended(live) for live in found.values()])
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


class Recorder:
    """The record of a server. Sessions are written on a thread of its own; what could not be written is tried again.

    Args:
        offers: The models, by name.
        out: Folder of the runs, which this process has locked.

    Raises:
        MixrouteError: as ``OfferRecord``.
    """

    def __init__(self, offers: Mapping[str, Offer], out: Path) -> None:
        own = {offer.name: offer for offer in offers.values()}  # some have two names
        self._records = {name: OfferRecord(offer, out) for name, offer in own.items()}
        self._left: dict[str, list[Ended]] = {name: [] for name in own}
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mixroute-record")
        self._troubles: dict[str, str] = {}

    @property
    def trouble(self) -> str:
        """Why something is not on the disk; empty where all is."""
        return next(iter(list(self._troubles.values())), "")

    def names(self, offer: str) -> set[str]:
        """Instances that are recorded of an offered model."""
        return self._records[offer].names

    def note(self, offer: str, instance: str, line: bytes) -> None:
        """Keep a step of an open session from being lost at a kill.

        Args:
            offer: The model that was asked for.
            instance: The session.
            line: An ``OpenStep``.
        """
        self._tried("journal", lambda: self._records[offer].note(instance, line))

    def record(self, offer: str, ended: Ended) -> Future[bool]:
        """Record a session that is over; the future says whether it is on the disk."""
        with self._lock:
            self._left[offer].append(ended)

        def recorded() -> bool:
            self._write(offer)
            return all(one is not ended for one in self._left[offer])

        return self._thread.submit(recorded)

    def try_again(self) -> None:
        """Write what could not be written."""
        for name in self._records:
            self._thread.submit(self._write, name)

    def close(self) -> None:
        """Write what is left and close all files.

        Raises:
            MixrouteError: something could not be written. Steps that are in the journal are recorded at the next start.
        """
        self._thread.shutdown(wait=True)
        for name, record in self._records.items():
            self._write(name)
            self._tried(f"files of {name}", record.close)
        if self.trouble:
            raise MixrouteError(self.trouble)

    def _write(self, offer: str) -> None:
        """Write all that has ended by now: ``run.json``, which names every session, is written once for them."""
        with self._lock:
            ended, self._left[offer] = self._left[offer], []
        if ended and not self._tried(f"sessions of {offer}", lambda: self._records[offer].write(ended)):
            with self._lock:
                self._left[offer] = ended + self._left[offer]

    def _tried(self, what: str, work: Callable[[], None]) -> bool:
        """Whether something could be written. A disk that is full does not end what is served."""
        try:
            work()
        except (MixrouteError, OSError) as error:
            if what not in self._troubles:
                log.error("%s: not recorded: %s", what, error)  # noqa: TRY400 - one line
            self._troubles[what] = one_line(error)
            return False
        self._troubles.pop(what, None)
        return True
