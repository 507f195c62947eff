"""``mixroute verify``: an entry is believed as far as it can be checked without any model."""

from harness.verify.entries import verify_entries
from harness.verify.entry import verify_entry
from harness.verify.report import Finding, Verdict, print_verdicts

__all__ = ["Finding", "Verdict", "print_verdicts", "verify_entries", "verify_entry"]
