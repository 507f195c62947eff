"""What checks of the machine find."""

from __future__ import annotations

from harness.files import Record


class Finding(Record, frozen=True):
    """Result of one check."""

    subject: str
    ok: bool
    message: str
