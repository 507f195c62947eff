"""Features of a trajectory for the router's network: for each step, hashed words and a few numbers. All come from what
the agent has seen; the next answer is unknown, unless a network waits for low's (``routers.dmr.drafts``).
"""

from __future__ import annotations

import re
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from harness.data import Observation, Turn

BUCKETS = 8192
"""Words are numbered by CRC-32 modulo this."""

FACTS = 8
"""Length of ``StepView.facts``."""

_WORD = re.compile(r"[a-z]+|\d+|[^\sa-z\d]")
_LONGEST = 160
_NOTHING = array("q", [0])


@dataclass(frozen=True, slots=True)
class StepView:
    """Features of one step: word numbers of the observation and of the action before it, and ``FACTS`` numbers."""

    words: array[int]
    """At least one number, of 64 bits each."""
    facts: tuple[float, ...]


def views(turns: Sequence[Turn], observation: Observation, models_used: Sequence[str]) -> list[StepView]:
    """Features of all steps so far, the present one last.

    Args:
        turns: Finished steps.
        observation: Present observation.
        models_used: For each finished step, the model whose answer became the action.
    """
    found = []
    times_seen: dict[str, int] = {}
    actions: set[str] = set()
    high = 0
    for index, current in enumerate([*(turn.observation for turn in turns), observation]):
        times = times_seen.get(current.text, 0)
        times_seen[current.text] = times + 1
        words = _numbers("o", current.text)
        refused = repeated = by_high = by_low = unchanged = False
        if index:
            shown, action = turns[index - 1].observation, turns[index - 1].action
            refused = bool(shown.admissible) and not is_listed(action, shown)
            repeated = action in actions
            by_high, by_low = models_used[index - 1] == "high", models_used[index - 1] == "low"
            unchanged = shown.text == current.text
            words = words + _numbers("a", action)
            actions.add(action)
            high += by_high
        place, share = min(index, 50) / 50, high / max(1, index)
        facts = (place, refused, min(times, 4) / 4, repeated, by_high, by_low, share, unchanged)
        found.append(StepView(words or _NOTHING, facts))
    return found


def is_listed(action: str, observation: Observation) -> bool:
    """Whether the environment lists the action. Case is ignored: WebShop shows "B09" and lists "click[b09]"."""
    return action.lower() in lowered(observation.admissible)


@lru_cache(maxsize=65536)
def lowered(actions: tuple[str, ...]) -> frozenset[str]:
    """The actions in lower case."""
    return frozenset(action.lower() for action in actions)


@lru_cache(maxsize=65536)
def words_of(text: str) -> tuple[str, ...]:
    """Words, numbers and punctuation marks of a text, in order."""
    return tuple(_WORD.findall(text.lower()))


@lru_cache(maxsize=65536)
def _numbers(field: str, text: str) -> array[int]:
    """Hashes of the words of a text, different for observations and actions; for actions also of pairs of words."""
    words = list(words_of(text)[:_LONGEST])
    if field == "a":
        words += [" ".join(pair) for pair in pairwise(words)]
    return array("q", (zlib.crc32(f"{field}:{word}".encode()) % BUCKETS for word in words))
