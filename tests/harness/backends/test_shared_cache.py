"""One key-value cache for several models: who reads which turn, what is charged, and answers to the last bit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from harness.backends.completion_cache import CompletionCache
from mixroute import Completion
from tests.examples import examples
from tests.harness.backends.sharing import ROOM, Asked, Models, close, opened, share, talk


@pytest.fixture(scope="module")
def shared(folders: dict[str, Path]) -> Iterator[Models]:
    models = share(opened(folders))
    yield models
    close(models)


@pytest.fixture(scope="module")
def rereading(folders: dict[str, Path]) -> Iterator[Models]:
    models = share(opened(folders), reread=1)
    yield models
    close(models)


def lengths() -> list[int]:
    """Tokens of the prompt at each step; the tokenizer's tokens are characters."""
    return [len("".join(ROOM[: 2 * step + 1])) for step in range(4)]


def cached(models: Models, calls: Sequence[Asked]) -> list[int]:
    return [answer.cached_tokens for answer in talk(models, calls)]


def test_what_any_model_of_the_group_has_read_is_cached(shared: Models, rereading: Models) -> None:
    first, second, third, _ = lengths()
    turns = [Asked("high", 0), Asked("low", 1), Asked("high", 2), Asked("low", 3)]
    assert cached(shared, turns) == [0, first, second, third]
    # Each takes over from the other, which has read the turn before the last one: that is read anew.
    assert cached(rereading, turns) == [0, 0, first, second]
    assert cached(rereading, [Asked("high", step) for step in range(4)]) == [0, first, second, third]


def test_each_model_reads_the_last_turn_itself(shared: Models) -> None:
    first, second, _, _ = lengths()
    assert cached(shared, [Asked("low", 0), Asked("high", 0), Asked("high", 1), Asked("low", 1)]) == [
        0,
        0,
        first,
        first,
    ]
    # A prompt that was only read is gone on from by the model that read it, if none has read it anew since.
    reading = [Asked("low", 1, reads=True), Asked("low", 1), Asked("low", 1)]
    assert cached(shared, reading) == [0, second, first]
    between = [Asked("low", 1, reads=True), Asked("high", 1), Asked("low", 1)]
    assert cached(shared, between) == [0, first, first]


def test_part_of_an_answer_is_read_once_by_whoever_goes_on(shared: Models, rereading: Models) -> None:
    first, (begun, longer) = lengths()[0], ("x" * 20, "x" * 40)
    calls = [Asked("high", 0), Asked("low", 0, begun=begun), Asked("high", 0, begun=longer), Asked("low", 1)]
    assert cached(shared, calls) == [0, first, first + 16, first]
    # Blocks count as turns: the block before the last one is new here, and the turn before them is left as it is.
    assert cached(rereading, calls) == [0, first, first + 16, 0]


def reference(folders: dict[str, Path], calls: Sequence[Asked]) -> list[list[float]]:
    """Log-probabilities of the answers, by transformers' own cache; each step is asked once, in order."""
    tokenizer = AutoTokenizer.from_pretrained(folders["high"])
    models: Any = {
        name: AutoModelForCausalLM.from_pretrained(folders[name], dtype=torch.float32) for name in ("high", "low")
    }
    kept = DynamicCache()
    found = []
    for call in calls:
        model = models[call.model]
        text = "".join(ROOM[: 2 * call.step + 1])
        ids = tokenizer(text)["input_ids"][kept.get_seq_length() :]
        held = kept.get_seq_length() + len(ids)
        told: list[float] = []
        with torch.inference_mode():
            for _ in range(4):
                logits = model(torch.tensor([ids]), past_key_values=kept).logits[0, -1]
                ids = [int(logits.argmax())]
                told.append(float(torch.log_softmax(logits, -1).max()))
                if ids == [2]:
                    break
        kept.crop(held)
        found.append(told)
    return found


def test_a_model_goes_on_from_the_keys_and_values_of_the_other(folders: dict[str, Path], shared: Models) -> None:
    calls = [Asked("low", 0), Asked("high", 1), Asked("low", 2), Asked("high", 3)]
    answers = [[token.logprob for token in answer.tokens] for answer in talk(shared, calls)]
    for ours, theirs in zip(answers, reference(folders, calls), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-3)
    alone = talk(shared, [Asked("high", 3)])[0]
    assert [token.logprob for token in alone.tokens] != pytest.approx(answers[-1], abs=1e-3)


CALLS = st.lists(
    st.builds(
        Asked, st.sampled_from(["high", "low"]), st.integers(0, 3), st.booleans(), st.sampled_from(["", "", "x" * 20])
    ),
    min_size=1,
    max_size=8,
).map(lambda calls: sorted(calls, key=lambda call: call.step))


@examples(0.3)
@given(calls=CALLS, kept=st.integers(0, 7), reread=st.booleans())
@example(calls=[Asked("low", 1, reads=True), Asked("high", 1)], kept=1, reread=False)
@example(calls=[Asked("low", 0), Asked("high", 1)], kept=1, reread=True)
@example(calls=[Asked("low", 0), Asked("high", 0), Asked("low", 1), Asked("high", 2)], kept=3, reread=False)
def test_an_answer_is_a_function_of_its_prompt_and_its_readers(
    shared: Models,
    rereading: Models,
    tmp_path_factory: pytest.TempPathFactory,
    calls: list[Asked],
    kept: int,
    reread: bool,
) -> None:
    """To the last bit: with all calls made at once, and with some answers from the completion cache."""
    models = rereading if reread else shared
    expected = talk(models, calls)
    assert talk(models, calls, at_once=True) == expected
    store = CompletionCache(tmp_path_factory.mktemp("store") / "a.sqlite")
    for model in models.values():
        model.use_cache(store)
    try:
        talk(models, calls[:kept], "before")
        assert talk(models, calls) == expected
        again = talk(models, calls)
        assert again == expected
        assert all(answer.reused for answer in again)
        assert talk(models, calls, at_once=True) == expected
    finally:
        for model in models.values():
            model._completions = None
        store.close()


@pytest.mark.parametrize("reread", [0, 2])
def test_dropped_caches_are_rebuilt_by_the_same_readers(
    folders: dict[str, Path], reread: int, caplog: pytest.LogCaptureFixture
) -> None:
    calls = [
        Asked("low", 0),
        Asked("high", 0),
        Asked("low", 1),
        Asked("high", 2),
        Asked("high", 2, begun="ab"),
        Asked("low", 3),
    ]
    roomy = share(opened(folders), reread)
    expected = talk(roomy, calls)
    close(roomy)
    tight = share(opened(folders, kv_cache_mb=1), reread)
    for model in tight.values():
        model._group.caches._max_bytes = 0  # less than any cache

    async def crowd() -> list[list[Completion]]:
        """Every session makes its calls in order, and all sessions take turns."""

        async def one(session: str) -> list[Completion]:
            return [await tight[call.model].generate(call.request(session)) for call in calls]

        return await asyncio.gather(*(one(f"s{number}") for number in range(5)))

    for answers in asyncio.run(crowd()):
        assert answers == expected  # what is charged too
    assert any("kv_cache_mb" in record.message for record in caplog.records)
    close(tight)


def test_caches_do_not_cross_to_models_that_do_not_share(folders: dict[str, Path], shared: Models) -> None:
    apart = opened(folders)
    calls = [Asked("low", 0), Asked("high", 1), Asked("low", 2), Asked("high", 3)]
    mixed = [Asked("other", 0), *calls, Asked("other", 3)]
    answers = talk(shared, mixed)
    assert answers[0] == talk(apart, [Asked("other", 0)])[0]
    assert answers[1:-1] == talk(shared, calls)
    assert replace(answers[-1], cached_tokens=0) == talk(apart, [Asked("other", 3)])[0]
    assert answers[-1].cached_tokens == lengths()[0]
    # Without sharing, an answer does not depend on what the other model has read in the session.
    for call, answer in zip(calls, talk(apart, calls), strict=True):
        assert replace(answer, cached_tokens=0) == talk(apart, [call])[0]
    assert [answer.cached_tokens for answer in talk(apart, calls)] == [0, 0, lengths()[0], lengths()[1]]
    close(apart)


def test_a_model_alone_in_its_session_answers_as_without_sharing(
    folders: dict[str, Path], shared: Models, tmp_path: Path
) -> None:
    """And finds what it was asked without sharing in the completion cache; what rests on others' keys it does not."""
    apart = opened(folders)
    store = CompletionCache(tmp_path / "a.sqlite")
    alone = [Asked("low", step) for step in range(4)]
    for models in (apart, shared):
        for model in models.values():
            model.use_cache(store)
    expected = talk(apart, [*alone, Asked("high", 3)])
    found = talk(shared, alone)
    assert found == expected[:-1]
    assert all(answer.reused for answer in found)
    *_, mixed = talk(shared, [*alone, Asked("high", 3)])
    assert not mixed.reused
    assert mixed.tokens != expected[-1].tokens
    for model in shared.values():
        model._completions = None
    close(apart)
    store.close()


def test_a_packed_model_goes_on_from_a_dense_one(folders: dict[str, Path]) -> None:
    first, second, third, _ = lengths()
    calls = [Asked("high", 0), Asked("low", 1), Asked("high", 2), Asked("low", 3)]
    answers = []
    for one_by_one in (True, False):
        models = opened({"high": folders["high"]})
        models |= opened({"low": folders["high"]}, quantization="rtn-w4-channel", head="int8")
        share(models)
        answers.append(talk(models, calls, at_once=not one_by_one))
        close(models)
    assert answers[0] == answers[1]
    assert [answer.cached_tokens for answer in answers[0]] == [0, first, second, third]


def test_throughput_mode_shares_too(folders: dict[str, Path]) -> None:
    models = share(opened(folders, deterministic=False))
    calls = [Asked("low", 0), Asked("high", 1), Asked("low", 2), Asked("high", 3)]
    answers = talk(models, calls)
    assert [answer.cached_tokens for answer in answers] == [0, *lengths()[:3]]
    for ours, theirs in zip(answers, reference(folders, calls), strict=True):
        assert [token.logprob for token in ours.tokens] == pytest.approx(theirs, abs=1e-3)
    close(models)
