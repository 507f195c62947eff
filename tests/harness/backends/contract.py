"""What every backend promises, as checks that need neither pytest nor particular weights.

They import next to nothing, so that ``tests.gpu`` runs them where only PyTorch and transformers are installed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from harness.data import Completion, GivenAnswer, Message, Prompt, Request
from harness.errors import EpisodeError
from harness.speed.bursts import Generates

NEAR = 1e-3
"""Nats by which statistics of a token may differ between two ways to compute them in float32."""


def ask(backend: Generates, *requests: Request) -> list[Completion]:
    """Answers of calls that begin together."""

    async def together() -> list[Completion]:
        return await asyncio.gather(*(backend.generate(request) for request in requests))

    return asyncio.run(together())


def check_it_ends_where_it_must(backend: Generates, request: Request) -> None:
    (whole,) = ask(backend, request)
    (cut,) = ask(backend, replace(request, max_tokens=2))
    assert (cut.finish, len(cut.tokens)) == ("length", 2)
    assert whole.text.startswith(cut.text)
    (other,) = ask(backend, replace(request, stop=(whole.text[-3:],)))
    assert other.text == whole.text[: whole.text.index(whole.text[-3:])]
    assert other.finish == "stop"


def check_it_goes_on_from_part_of_an_answer(backend: Generates, request: Request, begun: int) -> None:
    """Ask for the rest of an answer, of which the first ``begun`` characters are given."""
    (whole,) = ask(backend, request)
    part = whole.text[:begun]
    (rest,) = ask(backend, replace(request, continue_from=part, max_tokens=len(whole.tokens)))
    text = part + rest.text
    assert text == whole.text if whole.finish == "stop" else text.startswith(whole.text)
    assert rest.prompt_tokens > whole.prompt_tokens


def check_a_seed_repeats_its_sample(backend: Generates, request: Request) -> None:
    def sampled(seed: int) -> str:
        (answer,) = ask(backend, replace(request, temperature=2.0, seed=seed, max_tokens=12))
        return answer.text

    texts = [sampled(seed) for seed in range(4)]
    assert len(set(texts)) > 1
    assert sampled(3) == texts[3]


def check_a_cancelled_call_leaves_it_usable(backend: Generates, long: Request, other: Request) -> None:
    async def cancel() -> None:
        call = asyncio.create_task(backend.generate(long))
        await asyncio.sleep(0.3)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    asyncio.run(cancel())
    (answer,) = ask(backend, other)
    assert answer.tokens


def check_a_prompt_that_is_too_long_is_its_episodes_error(backend: Generates) -> None:
    prompt = Prompt((Message("user", "word " * 40_000),), "plain")
    try:
        ask(backend, Request("long", prompt, max_tokens=4))
    except EpisodeError:
        return
    raise AssertionError("a prompt that is too long was answered")


def check_what_it_scores_is_what_it_wrote(backend: Any, requests: Sequence[Request], near: float = NEAR) -> None:
    answers = ask(backend, *requests)
    given = [GivenAnswer(one.text, one.content_tokens, len(one.tokens), one.finish) for one in answers]
    scored = asyncio.run(backend.score(list(zip(requests, given, strict=True))))
    for answer, tokens in zip(answers, scored, strict=True):
        assert tokens is not None
        assert [one.token.id for one in tokens] == [token.id for token in answer.tokens]
        for ours, token in zip(tokens, answer.tokens, strict=True):
            assert abs(ours.shortfall) < near
            for name in ("logprob", "entropy", "margin"):
                assert abs(getattr(ours.token, name) - getattr(token, name)) < near


def check_answers_do_not_depend_on_the_batch(backend: Generates, requests: Sequence[Request]) -> None:
    """For deterministic mode: what is answered together is answered alone, to the last bit."""
    together = ask(backend, *requests)
    for request in requests:
        backend.release(request.session)
    for request, answer in zip(requests, together, strict=True):
        (alone,) = ask(backend, request)
        assert alone == replace(answer, timing=alone.timing)
