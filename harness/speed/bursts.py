"""Bursts of calls that begin together, and what their times say of prefill and decode.

It needs PyTorch and transformers alone, so that it runs where pydantic and msgspec are not installed.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from harness.data import Completion, Message, Prompt, Request
from harness.errors import MixrouteError
from harness.seeding import seed_for
from harness.text import quoted

Meter = Callable[[], float]
"""Joules that the devices have used so far."""

_WORDS = ("the", "of", "and", "to", "in", "is", "that", "for", "it", "as", "was", "with", "be", "by", "on", "not")
_ATTEMPTS = 5  # at a sample of which most calls run on together
_PHRASE = 12  # words; a model goes on with what repeats, and so does not end its answer early


class Generates(Protocol):
    """The part of a backend that is timed."""

    async def generate(self, request: Request) -> Completion:
        """Answer one request."""
        ...

    def release(self, session: str) -> None:
        """Free the session's cache."""
        ...


@dataclass(frozen=True, slots=True)
class Burst:
    """Calls that began together."""

    seconds: float
    joules: float | None
    prompt_tokens: int
    decoded_tokens: int


@dataclass(frozen=True, slots=True)
class Timed:
    """One repeat; its fields are those of ``harness.speed.card.Sample``, which says what they are."""

    prompt_tokens: int
    decoded_tokens: int
    prefill: float
    decode: float
    prefill_joules: float | None
    decode_joules: float | None


def timed(
    backend: Generates,
    name: str,
    concurrency: int,
    words: int,
    decode: int,
    seed: str,
    meter: Meter | None,
) -> Timed:
    """Time ``concurrency`` calls with prompts of so many words, first to decode one token, then ``decode`` more.

    Args:
        backend: The model.
        name: Of the model, for errors.
        concurrency: Calls at once.
        words: Words of a prompt; see ``words_for``.
        decode: Tokens that each call decodes after its first.
        seed: No two samples with other seeds have a prompt in common.
        meter: Counts joules; None where nothing does.

    Raises:
        MixrouteError: the model ends its answers too soon.
        EpisodeError: a prompt does not fit the model's context.
    """
    first = burst(backend, concurrency, words, 1, f"first {seed}", meter)
    for attempt in range(_ATTEMPTS):
        whole = burst(backend, concurrency, words, decode + 1, f"whole {seed} {attempt}", meter)
        decoded = whole.decoded_tokens - concurrency
        if 2 * decoded >= concurrency * decode:
            break
    else:
        raise MixrouteError(
            f"model {quoted(name)} ends its answers after {whole.decoded_tokens / concurrency:.1f} tokens: time it "
            "with --random-weights, or give a smaller --decode"
        )
    # Prompts differ by a few tokens from one burst to the next.
    prefill = first.seconds * whole.prompt_tokens / first.prompt_tokens
    used = first.joules is not None and whole.joules is not None
    return Timed(
        prompt_tokens=round(first.prompt_tokens / concurrency),
        decoded_tokens=decoded,
        prefill=first.seconds / first.prompt_tokens,
        decode=(whole.seconds - prefill) / decoded,
        prefill_joules=(first.joules or 0.0) / first.prompt_tokens if used else None,
        decode_joules=((whole.joules or 0.0) - (first.joules or 0.0)) / decoded if used else None,
    )


def words_for(backend: Generates, length: int) -> int:
    """Number of words that make a prompt of ``length`` tokens for this model."""
    few, many = (burst(backend, 1, words, 1, "words", None).prompt_tokens for words in (8, 24))
    return max(1, 8 + round((length - few) * 16 / (many - few)))


def burst(backend: Generates, concurrency: int, words: int, tokens: int, seed: str, meter: Meter | None) -> Burst:
    """Ask ``concurrency`` new questions at once, and wait for all answers."""
    requests = [
        Request(f"calibrate {seed} {place}", _prompt(words, f"{seed} {concurrency} {place}"), max_tokens=tokens)
        for place in range(concurrency)
    ]

    async def together() -> list[Completion]:
        return await asyncio.gather(*(backend.generate(request) for request in requests))

    joules = meter() if meter else 0.0
    began = time.perf_counter()
    answers = asyncio.run(together())
    seconds = time.perf_counter() - began
    used = meter() - joules if meter else None
    for request in requests:
        backend.release(request.session)
    return Burst(seconds, used, sum(one.prompt_tokens for one in answers), sum(len(one.tokens) for one in answers))


def _prompt(words: int, name: str) -> Prompt:
    """A repeated phrase. No two names give the same beginning, so that no prefix cache helps."""
    seed = seed_for(name)
    rng = random.Random(seed)  # noqa: S311 - no secret
    phrase = [rng.choice(_WORDS) for _ in range(_PHRASE)]
    text = " ".join([f"{seed:x}"[:6], *(phrase * (words // _PHRASE + 1))[:words]])
    return Prompt((Message("user", text),), "plain")
