"""The difficulty-aware reward of RelayLLM (arXiv 2601.05167), which depends on who solves the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one rollout."""

    right: bool
    called: bool
    """Whether a call was carried out."""
    rho: float
    """Tokens asked for over tokens of the response, at most 1."""


def rho_of(requested: Sequence[int], response: int) -> float:
    """``min(sum of n / response tokens, 1)``; 1 for calls in a response without tokens."""
    asked = sum(requested)
    return min(asked / response, 1.0) if response else float(asked > 0)


def rewards(group: Sequence[Outcome]) -> list[float]:
    """The rewards of all rollouts of one prompt.

    - Some rollout is right without a call (the prompt is easy): right 1.5 without a call, 1 - rho with one; wrong 0.
    - Only rollouts with a call are right (it needs the large model): right 1 - rho; wrong 0 with a call, -1 without.
    - None is right (it is too hard): rho for calling, else 0.
    """
    if any(one.right and not one.called for one in group):
        return [(1 - one.rho if one.called else 1.5) if one.right else 0.0 for one in group]
    if any(one.right for one in group):
        return [1 - one.rho if one.right else 0.0 if one.called else -1.0 for one in group]
    return [one.rho if one.called else 0.0 for one in group]
