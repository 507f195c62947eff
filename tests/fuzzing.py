"""How many examples the property tests of parsers take: few in every run, 10,000 in ``make fuzz``."""

from __future__ import annotations

from hypothesis import settings

MANY = 10_000


def parser_examples(few: int) -> settings:
    """Settings of a property test of a parser: ``few`` examples, ``MANY`` under the profile of ``make fuzz``."""
    return settings(max_examples=MANY if settings.get_current_profile_name() == "random" else few)
