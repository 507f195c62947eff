"""Facts of low's answer, for networks that wait for it: how sure low was, whether the environment lists the action, and
how its words compare with those that were shown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from harness.data import Completion, Observation, Turn
from harness.token_statistics import TokenStatistics
from routers.dmr.features import is_listed, lowered, words_of

LENGTHS = {"draft": 6, "checked": 6 + 4, "compared": 6 + 4 + 6, "placed": 6 + 4 + 6 + 2}
"""Number of facts that each kind of waiting network reads; each kind reads those of the one before, and more."""


_WRITTEN = re.compile(r"\w")


def facts_of(
    reads: str,
    draft: Completion,
    action: str,
    turns: Sequence[Turn],
    observation: Observation,
) -> tuple[float, ...]:
    """The facts of an answer that a network of kind ``reads`` reads.

    Args:
        reads: One of ``LENGTHS``.
        draft: Low's answer.
        action: The action that the task reads in it.
        turns: The finished steps.
        observation: What is shown now.
    """
    facts = draft_facts(draft.statistics)
    if reads != "draft":
        facts += action_facts(action, turns, observation)
    if reads not in ("draft", "checked"):
        facts += word_facts(action, turns, observation)
    if reads == "placed":
        facts += place_facts(action, turns, observation)
    return facts


def draft_facts(statistics: TokenStatistics) -> tuple[float, ...]:
    """How sure low was of an answer, by the tokens of its text and the one that ended it."""
    read = statistics.content_and_end
    found = (
        read.mean_entropy,
        read.max_entropy,
        -read.mean_logprob,
        -read.min_logprob,
        1 - read.min_margin,
        len(read) / 16,
    )
    return tuple(min(value, 8.0) for value in found)


def action_facts(action: str, turns: Sequence[Turn], observation: Observation) -> tuple[float, ...]:
    """Facts of an answer that are known before the environment has seen it.

    Args:
        action: The action that the task reads in the answer.
        turns: The finished steps.
        observation: What is shown now.
    """
    taken = [turn for turn in turns if turn.action == action]
    listed = is_listed(action, observation)
    return (
        float(listed),
        float(bool(observation.admissible) and not listed),
        min(len(taken), 4) / 4,
        float(any(turn.observation.text == observation.text for turn in taken)),
    )


def word_facts(action: str, turns: Sequence[Turn], observation: Observation) -> tuple[float, ...]:
    """How the words of an answer, but for the first, which is the verb, compare with those that were shown.

    Args:
        action: The action that the task reads in the answer.
        turns: The finished steps.
        observation: What is shown now. The first observation holds the task.
    """
    words = _argument(action)
    goal, now = words_of(_task(turns, observation)), words_of(observation.text)
    shown = {word for turn in turns for word in words_of(turn.observation.text)}.union(now)
    named = _named(lowered(observation.admissible), goal) - {turn.action.lower() for turn in turns}
    return (
        float(_within(words, goal) or _within(words, now)),
        sum(word not in shown for word in words) / max(1, len(words)),
        len(set(words) & set(goal)) / max(1, len(set(goal))),
        min(len(named), 4) / 4,
        float(action.lower() in named),
        float(words_of(action)[:1] in {words_of(other)[:1] for other in observation.admissible}),
    )


def place_facts(action: str, turns: Sequence[Turn], observation: Observation) -> tuple[float, ...]:
    """Signs that an answer is incomplete: how many words of the task follow where its words stand there (a copy that
    ends too soon leaves more), and whether the environment lists other actions of its kind but not this one.

    Args:
        action: The action that the task reads in the answer.
        turns: The finished steps.
        observation: What is shown now. The first observation holds the task.
    """
    words = _argument(action)
    _, found, rest = _spaced(words_of(_task(turns, observation))).rpartition(_spaced(words)) if words else ("", "", "")
    kind = words_of(action)[:1]
    # "search[...]" stands for any query: it lists none.
    others = any(
        _WRITTEN.search(" ".join(_argument(other))) for other in observation.admissible if words_of(other)[:1] == kind
    )
    return (
        min(len(rest.split()), 32) / 32 if found else 0.0,
        float(others and not is_listed(action, observation)),
    )


def _task(turns: Sequence[Turn], observation: Observation) -> str:
    return (turns[0].observation if turns else observation).text


@lru_cache(maxsize=4096)
def _named(listed: frozenset[str], goal: tuple[str, ...]) -> frozenset[str]:
    """The listed actions whose arguments are in the goal, but for those in a longer one: "large" in "x-large"."""
    arguments = {action: _argument(action) for action in listed}
    found = {action: words for action, words in arguments.items() if _within(words, goal)}
    return frozenset(
        action
        for action, words in found.items()
        if not any(words != longer and _within(words, longer) for longer in found.values())
    )


def _argument(action: str) -> tuple[str, ...]:
    """The words of an action after the first, without brackets around them all."""
    words = words_of(action)[1:]
    return words[1:-1] if words[:1] == ("[",) and words[-1:] == ("]",) else words


def _within(words: tuple[str, ...], text: tuple[str, ...]) -> bool:
    """Whether ``words``, which may not be none, follow each other in ``text``."""
    return bool(words) and _spaced(words) in _spaced(text)


def _spaced(words: Sequence[str]) -> str:
    return f" {' '.join(words)} "
