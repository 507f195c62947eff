"""Statistics of a call's tokens: rounded when they are made, and the same on a completion and on its record."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.numbers import round_significant
from harness.token_statistics import TokenStatistics
from mixroute import Completion, Token, join

RAW = st.tuples(st.floats(-30, 0), st.floats(0, 12), st.floats(0, 1))


def completion(statistics: list[tuple[float, float, float]], content: int = 0) -> Completion:
    tokens = tuple(Token(number, *values) for number, values in enumerate(statistics))
    return Completion("low", "text", tokens, min(content, len(tokens)), "stop", 5, 0)


@given(st.lists(RAW, max_size=6), st.integers(0, 6))
def test_every_completion_holds_rounded_statistics(raw: list[tuple[float, float, float]], content: int) -> None:
    made = completion(raw, content)
    rounded = [tuple(map(round_significant, values)) for values in raw]
    cached = msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=Completion)
    for one in (made, replace(made, reused=True), cached):
        assert [(token.logprob, token.entropy, token.margin) for token in one.tokens] == rounded
    written = [logprob for logprob, _, _ in rounded[: made.content_tokens]]
    assert [token.logprob for token in join([made, made]).tokens] == 2 * written


def test_a_cached_completion_with_all_digits_is_rounded_when_it_is_read() -> None:
    kept = msgspec.to_builtins(completion([], 0))
    kept["tokens"] = [{"id": 1, "logprob": -0.123456789, "entropy": 1.23456789, "margin": 0.987654321}]
    (token,) = msgspec.convert(kept, Completion).tokens
    assert (token.logprob, token.entropy, token.margin) == (-0.12346, 1.2346, 0.98765)


@given(st.lists(RAW, min_size=1, max_size=6), st.integers(0, 6))
def test_statistics_are_those_of_their_definitions(raw: list[tuple[float, float, float]], content: int) -> None:
    made = completion(raw, content)
    logprobs, entropies, margins = zip(*[[t.logprob, t.entropy, t.margin] for t in made.tokens], strict=True)
    found = made.statistics
    assert found == TokenStatistics(logprobs, entropies, margins, made.content_tokens)
    assert found.min_logprob <= found.mean_logprob == pytest.approx(fmean(logprobs))
    assert found.mean_entropy == pytest.approx(fmean(entropies))
    assert found.first_entropy == entropies[0]
    assert found.mean_entropy <= found.max_entropy == max(entropies)
    assert found.min_margin <= found.mean_margin == pytest.approx(fmean(margins))
    assert found.perplexity == pytest.approx(math.exp(-fmean(logprobs)))


@given(st.lists(RAW, max_size=6), st.integers(0, 6))
def test_a_part_is_narrowed_to_the_text_and_its_end(raw: list[tuple[float, float, float]], content: int) -> None:
    made = completion(raw, content)
    assert len(made.statistics) == len(raw)
    assert len(made.statistics.content) == made.content_tokens
    assert made.statistics.content.logprobs == tuple(token.logprob for token in made.content)
    assert len(made.statistics.content_and_end) == min(made.content_tokens + 1, len(raw))
    assert made.statistics.content_and_end.content == made.statistics.content


def test_without_tokens_there_is_no_mean() -> None:
    for name in ("mean_logprob", "min_logprob", "perplexity", "first_entropy", "mean_entropy", "min_margin"):
        with pytest.raises(ValueError):
            getattr(TokenStatistics((), (), (), 0), name)
