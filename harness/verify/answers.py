"""Comparison of two recorded answers to one question."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from harness.records import CallRecord

TOLERANCE = 1e-3
"""Largest difference in nats of statistics of the same token that were computed in float32 on two machines, or in
passes of two shapes. Measured: at most 2.5e-5; docs/verification.md."""
COARSE_TOLERANCE = 0.3
"""Tolerance where one of them was computed in a type of 16 bits."""


_CUT = 2
"""Tokens by which the counts of one text may differ, as a stop string may cut the last ones."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as a trace holds it."""

    machine: str
    """What its last digits depend on."""
    text: str
    finish: str
    content_tokens: int
    prompt_tokens: int
    statistics: tuple[Sequence[float], Sequence[float], Sequence[float]]
    """Log-probabilities, entropies and margins."""

    @classmethod
    def of(cls, call: CallRecord, machine: str) -> Self:
        """The answer of a call."""
        packed = (array("d", call.logprobs), array("d", call.entropies), array("d", call.margins))
        return cls(machine, call.text, call.finish, call.content_tokens, call.prompt_tokens, packed)


def contradiction(one: Answer, other: Answer) -> str:
    """Why two answers to the same question cannot both be the model's; empty where they can.

    On one machine statistics are equal but for the rounding of the fifth digit; on two they differ by less than
    ``TOLERANCE``, and may part where the two likeliest tokens are as close as that.
    """
    if one.prompt_tokens != other.prompt_tokens:
        return f"the prompt has {one.prompt_tokens} and {other.prompt_tokens} tokens"
    same_machine = one.machine == other.machine
    lengths = [len(answer.statistics[0]) for answer in (one, other)]
    for place in range(min(lengths)):
        for name, ours, theirs in zip(
            ("log-probability", "entropy", "margin"), one.statistics, other.statistics, strict=True
        ):
            a, b = ours[place], theirs[place]
            if not (same_digits(a, b) if same_machine else abs(a - b) <= TOLERANCE):
                return f"token {place} has {name} {a} and {b}"
        if not same_machine and min(one.statistics[2][place], other.statistics[2][place]) <= TOLERANCE:
            return ""  # a tie: from here on, they may go apart
    if lengths[0] == lengths[1] and one.finish == other.finish:
        if (one.text, one.content_tokens) != (other.text, other.content_tokens):
            return f"the texts are {one.text!r} and {other.text!r}"
        return ""
    shorter, longer = sorted((one.text.rstrip("\ufffd"), other.text.rstrip("\ufffd")), key=len)
    if not longer.startswith(shorter):
        return f"the texts are {one.text!r} and {other.text!r}"
    # Both are the beginning of one answer: what one has more in text, the other cannot have in many more tokens.
    fewer, more = sorted(answer.content_tokens for answer in (one, other))
    if more - fewer > len(longer.encode()) - len(shorter.encode()) + _CUT:
        return f"the texts {one.text!r} and {other.text!r} have {one.content_tokens} and {other.content_tokens} tokens"
    return ""


def same_digits(one: float, other: float) -> bool:
    """Whether two numbers of five significant digits differ by at most one unit of the fifth."""
    largest = max(abs(one), abs(other))
    if one == other or largest == 0 or not math.isfinite(largest):
        return one == other
    unit = 10.0 ** (math.floor(math.log10(largest)) - 4)
    return abs(one - other) <= 1.001 * unit
