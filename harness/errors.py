"""Errors that a user can mend; the command line prints each as one line and exits with code 2."""


class MixrouteError(Exception):
    """Something in the user's input, data or machine is wrong. The message names the thing, its value and the mend."""


class RunStopped(MixrouteError):
    """Every episode of the run would fail alike, so it is stopped. Finished episodes stay."""


class EpisodeError(Exception):
    """One episode cannot go on. It is recorded in that episode; the run continues."""
