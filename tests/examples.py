"""Number of examples of hypothesis tests, in the profiles of tests/conftest.py."""

from __future__ import annotations

from hypothesis import settings


def examples(share: float) -> settings:
    """Settings of a test whose examples take longer than those of others.

    Args:
        share: Share of the profile's number of examples that this test runs, above 0 and at most 1.
    """
    return settings(max_examples=max(1, round(settings().max_examples * share)))
