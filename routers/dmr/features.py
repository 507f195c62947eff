"""What the router's network reads of a trajectory: for each step, hashed words and a few facts. All of it is what the
agent has seen; of an answer to come nothing is known, unless a network waits for low's.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from statistics import fmean

from harness.data import Observation, Turn

BUCKETS = 8192
"""Words are numbered by CRC-32 modulo this."""

FACTS = 8
"""Length of ``StepView.facts``."""

DRAFT_FACTS = 6
"""Length of ``draft_facts``."""

ACTION_FACTS = 4
"""Length of ``action_facts``."""

_WORD = re.compile(r"[a-z]+|\d+|[^\sa-z\d]")
_LONGEST = 160


@dataclass(frozen=True, slots=True)
class StepView:
    """One step as the network reads it: word numbers of the observation and of the action before it, and facts."""

    words: tuple[int, ...]
    facts: tuple[float, ...]


def views(turns: Sequence[Turn], observation: Observation, models_used: Sequence[str]) -> list[StepView]:
    """All steps so far, the present one last.

    Args:
        turns: The finished steps.
        observation: What is shown now.
        models_used: Which model's answer became the action, per finished step.
    """
    shown = [*(turn.observation for turn in turns), observation]
    found = []
    times_seen: dict[str, int] = {}
    actions: set[str] = set()
    high = 0
    for index, seen in enumerate(shown):
        before = turns[index - 1] if index else None
        times = times_seen.get(seen.text, 0)
        facts = [
            min(index, 50) / 50,
            float(before is not None and bool(before.observation.admissible) and not _admissible(before)),
            min(times, 4) / 4,
            float(before is not None and before.action in actions),
            float(before is not None and models_used[index - 1] == "high"),
            float(before is not None and models_used[index - 1] == "low"),
            high / max(1, index),
            float(before is not None and before.observation.text == seen.text),
        ]
        words = _numbers("o", seen.text)
        if before is not None:
            words = words + _numbers("a", before.action)
            actions.add(before.action)
        if index < len(turns):
            high += models_used[index] == "high"
        found.append(StepView(words or (0,), tuple(facts)))
        times_seen[seen.text] = times + 1
    return found


def draft_facts(
    logprobs: Sequence[float], entropies: Sequence[float], margins: Sequence[float], content_tokens: int
) -> tuple[float, ...]:
    """How sure a model was of an answer that it wrote.

    Args:
        logprobs: Of its tokens, in nats.
        entropies: Of the distributions that they were drawn from, in nats.
        margins: Between the two likeliest tokens.
        content_tokens: How many of the tokens make the text; the one after them, which ends it, counts too.
    """
    count = min(content_tokens + 1, len(logprobs))
    entropies, surprises = entropies[:count], [-value for value in logprobs[:count]]
    found = (fmean(entropies), max(entropies), fmean(surprises), max(surprises), 1 - min(margins[:count]), count / 16)
    return tuple(min(value, 8.0) for value in found)


def action_facts(text: str, turns: Sequence[Turn], observation: Observation) -> tuple[float, ...]:
    """What can be said of an answer before the environment has seen it.

    Args:
        text: The answer.
        turns: The finished steps.
        observation: What is shown now.
    """
    action = text.strip()
    taken = [turn for turn in turns if turn.action == action]
    return (
        float(action in observation.admissible),
        float(bool(observation.admissible) and action not in observation.admissible),
        min(len(taken), 4) / 4,
        float(any(turn.observation.text == observation.text for turn in taken)),
    )


def _admissible(turn: Turn) -> bool:
    return turn.action in turn.observation.admissible


@lru_cache(maxsize=65536)
def _numbers(field: str, text: str) -> tuple[int, ...]:
    """Numbers of the words of a text, apart for observations and actions, and of neighbouring pairs in actions."""
    words = _WORD.findall(text.lower())[:_LONGEST]
    if field == "a":
        words += [" ".join(pair) for pair in pairwise(words)]
    return tuple(zlib.crc32(f"{field}:{word}".encode()) % BUCKETS for word in words)
