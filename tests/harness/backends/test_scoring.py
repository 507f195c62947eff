"""Scoring says of a given answer what the model said when it wrote it, however many answers are scored at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from bitsandbytes.functional import has_avx512bf16
from hypothesis import given
from hypothesis import strategies as st

from harness.backends.transformers import TransformersBackend
from mixroute import Completion, GivenAnswer, Request, ScoredToken
from tests.examples import examples
from tests.harness.backends.asking import ask, open_model, plain
from tests.tiny_model import save_tiny_model

LETTERS = "abcdefgh"
PROMPTS = st.lists(st.text(alphabet=LETTERS, min_size=1, max_size=40), min_size=1, max_size=12)
STOPS = st.sampled_from([(), ("a",), ("bc", "d"), ("\n",)])
ROUNDING = 3e-4
"""Nats by which statistics may differ, which are rounded to five digits."""
ROUNDING_IN_BFLOAT16 = 1e-3
"""The same where bitsandbytes multiplies NF4 weights in bfloat16, which rounds otherwise in passes of other sizes."""


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that writes a few letters, so that its texts are split into the tokens that it wrote."""
    folder = tmp_path_factory.mktemp("weights") / "writer"
    save_tiny_model(folder, letters=LETTERS)
    return folder


@pytest.fixture(scope="module", params=["none", "nf4"])
def quantization(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def backend(writer: Path, quantization: str) -> Iterator[TransformersBackend]:
    opened = open_model(writer, quantization=quantization)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def rounding(quantization: str) -> float:
    return ROUNDING_IN_BFLOAT16 if quantization == "nf4" and has_avx512bf16() else ROUNDING  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def in_small_passes(writer: Path) -> Iterator[TransformersBackend]:
    """The same model, which reads few tokens at once."""
    opened = open_model(writer, max_rows=64)
    yield opened
    opened.close()


def as_given(answer: Completion) -> GivenAnswer:
    return GivenAnswer(answer.text, answer.content_tokens, len(answer.tokens), answer.finish)


def score(
    backend: TransformersBackend, answers: Sequence[tuple[Request, GivenAnswer]]
) -> list[tuple[ScoredToken, ...] | None]:
    return asyncio.run(backend.score(answers))


def longest(backend: TransformersBackend) -> tuple[Request, Completion]:
    """A question with an answer that is cut at its length."""
    requests = [plain(letter * 3, letter) for letter in LETTERS]
    return next(one for one in zip(requests, ask(backend, *requests), strict=True) if one[1].finish == "length")


def numbers(scored: Sequence[ScoredToken]) -> list[float]:
    return [
        value
        for one in scored
        for value in (one.token.logprob, one.token.entropy, one.token.margin, one.shortfall)
    ]  # fmt: skip


@examples(0.15)
@given(prompts=PROMPTS, stop=STOPS, max_tokens=st.integers(1, 12), begun=st.sampled_from(["", "ab", "h" * 20]))
def test_scores_are_the_statistics_of_generation(
    backend: TransformersBackend,
    rounding: float,
    prompts: list[str],
    stop: tuple[str, ...],
    max_tokens: int,
    begun: str,
) -> None:
    changes = {"stop": stop, "max_tokens": max_tokens, "continue_from": begun}
    requests = [plain(prompt, f"s{place}", **changes) for place, prompt in enumerate(prompts)]
    answers = ask(backend, *requests)
    scored = score(backend, [(request, as_given(one)) for request, one in zip(requests, answers, strict=True)])
    for answer, tokens in zip(answers, scored, strict=True):
        assert tokens is not None
        assert [one.token.id for one in tokens] == [token.id for token in answer.tokens]
        generated = [value for token in answer.tokens for value in (token.logprob, token.entropy, token.margin, 0.0)]
        assert numbers(tokens) == pytest.approx(generated, abs=rounding)


@examples(0.15)
@given(
    prompts=st.lists(st.text(alphabet="ab", min_size=1, max_size=40), min_size=1, max_size=4),
    texts=st.lists(st.text(alphabet=LETTERS, min_size=1, max_size=6), min_size=2, max_size=3),
)
def test_many_answers_in_one_pass_score_as_each_alone(
    in_small_passes: TransformersBackend, prompts: list[str], texts: list[str]
) -> None:
    """Prompts that begin alike, answers that begin alike, and prompts that go on from answers, as in an episode."""
    given_answers = [
        (plain(prompt + begun), GivenAnswer(text, len(text), len(text) + closed, "stop" if closed else "length"))
        for prompt in prompts
        for begun in ("", texts[0])
        for text in texts
        for closed in (False, True)
    ]
    together = score(in_small_passes, given_answers)
    for one, tokens in zip(given_answers, together, strict=True):
        (alone,) = score(in_small_passes, [one])
        assert tokens is not None
        assert alone is not None
        assert [scored.token.id for scored in tokens] == [scored.token.id for scored in alone]
        assert numbers(tokens) == pytest.approx(numbers(alone), abs=ROUNDING)


def test_another_text_falls_short_of_the_models_first_choice(backend: TransformersBackend) -> None:
    request, answer = longest(backend)
    written = answer.text[0]
    for letter in set(LETTERS) - {written}:
        (scored,) = score(backend, [(request, GivenAnswer(letter, 1, 1, "length"))])
        assert scored is not None
        assert scored[0].shortfall == pytest.approx(answer.tokens[0].logprob - scored[0].token.logprob, abs=ROUNDING)
        assert scored[0].shortfall > 0


def test_an_end_that_the_model_does_not_choose_falls_short(backend: TransformersBackend) -> None:
    request, answer = longest(backend)
    (scored,) = score(backend, [(request, GivenAnswer(answer.text[:3], 3, 4, "stop"))])
    assert scored is not None
    assert [one.shortfall for one in scored[:3]] == pytest.approx([0] * 3, abs=ROUNDING)
    assert scored[3].shortfall > 0


@pytest.mark.parametrize(
    "answer",
    [
        GivenAnswer("abc", 2, 2, "length"),
        GivenAnswer("abc", 4, 4, "length"),
        GivenAnswer("abc", 3, 5, "stop"),
        GivenAnswer("", 0, 0, "length"),
        GivenAnswer("a" * 5000, 5000, 5000, "length"),
    ],
    ids=["fewer tokens", "more tokens", "a longer end", "no token", "longer than the context"],
)
def test_what_cannot_be_the_answers_tokens_is_not_scored(backend: TransformersBackend, answer: GivenAnswer) -> None:
    assert score(backend, [(plain("abc"), answer), (plain("abc"), GivenAnswer("a", 1, 1, "length"))])[0] is None
