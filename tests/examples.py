"""Number of examples of hypothesis tests, in the profiles of tests/conftest.py."""

from __future__ import annotations

from hypothesis import settings

MANY = 10_000
"""Examples of a property test of a parser in ``make fuzz``."""


def examples(share: float) -> settings:
    """Settings of a test whose examples take longer than those of others.

    Args:
        share: Share of the profile's number of examples that this test runs, above 0 and at most 1.
    """
    return settings(max_examples=max(1, round(settings().max_examples * share)))


def parser_examples(few: int) -> settings:
    """Settings of a property test of a parser: ``few`` examples, ``MANY`` in ``make fuzz``."""
    return settings(max_examples=MANY if settings.get_current_profile_name() == "random" else few)
