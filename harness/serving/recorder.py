"""The record of a server: what ends is written on a thread, and what cannot be written is tried again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from harness.errors import MixrouteError
from harness.serving.offers import Offer
from harness.serving.recording import EndedSession, OfferRecord
from harness.text import one_line

log = logging.getLogger(__name__)


class SessionRecorder:
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
        self._left: dict[str, list[EndedSession]] = {name: [] for name in own}
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

    def record(self, offer: str, ended: EndedSession) -> Future[bool]:
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
