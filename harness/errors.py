"""Errors that a user can fix; the command line prints each as one line and exits with code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MixrouteError(Exception):
    """Wrong user input, data or machine state. The message names the file or key, the value and the fix."""


class RunStopped(MixrouteError):
    """Every episode of the run would fail alike, so it is stopped. Finished episodes stay."""


class NotRecorded(MixrouteError):
    """A router needs what traces do not hold, such as hidden states: its decisions cannot be taken again from one."""


class EpisodeError(Exception):
    """One episode cannot go on. It is recorded in that episode; the run continues."""


class PluginExited(EpisodeError):
    """A plug-in raised what is no ``Exception``, such as ``SystemExit``; the message names that."""


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """The end of a message about an unknown name: the known one that is most like it, or ``otherwise``."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean '{close[0]}'?" if close else otherwise
