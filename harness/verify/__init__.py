"""``mixroute verify``: checks of published entries that need no model."""

from harness.verify.entries import verify_entries
from harness.verify.entry import verify_entry
from harness.verify.report import CheckResult, EntryVerdict, print_verdicts

__all__ = ["CheckResult", "EntryVerdict", "print_verdicts", "verify_entries", "verify_entry"]
