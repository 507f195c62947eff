"""One key-value cache for several models: who reads which turn, what is charged, and answers to the last bit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from harness.backends.completion_cache import CompletionCache
from harness.backends.transformers import TransformersBackend
from harness.pool import ModelSpec
from mixroute import Completion, Message, MixrouteError, Prompt, Request
from tests.examples import examples
from tests.tiny_model import save_tiny_model

ROOM = ("You are in a room.\n>", " look\n", "You see desk 1.\n>", " open\n", "It is open.\n>", " go\n", "The end.\n>")


@dataclass(frozen=True)
class Asked:
    """A call: which model, at which step, whether it only reads, and how much of an answer it goes on from."""

    model: str
    step: int
    reads: bool = False
    begun: str = ""

    def request(self, session: str) -> Request:
        turns = ROOM[: 2 * self.step + 1]
        told = tuple(Message(("user", "assistant")[place % 2], text) for place, text in enumerate(turns))
        return Request(session, Prompt(told, "plain"), self.begun, max_tokens=0 if self.reads else 4)


Models = dict[str, TransformersBackend]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two models of one architecture and other weights, and a third."""
    found = {}
    for seed, name in enumerate(("high", "low", "other")):
        found[name] = tmp_path_factory.mktemp("weights") / name
        save_tiny_model(found[name], seed)
    return found


def opened(folders: dict[str, Path], *, deterministic: bool = True, **options: Any) -> Models:
    return {
        name: TransformersBackend(name, ModelSpec(weights=str(folder), options=options), deterministic=deterministic)
        for name, folder in folders.items()
    }


def close(models: Models) -> None:
    for model in models.values():
        model.close()


def share(models: Models, reread: int = 0) -> Models:
    models["high"].share_cache({"low": models["low"]}, reread)
    return models


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


def talk(models: Models, calls: Sequence[Asked], session: str = "s", *, at_once: bool = False) -> list[Completion]:
    """The answers of a session's calls, made one after the other or all at once."""

    async def run() -> list[Completion]:
        asked = [models[call.model].generate(call.request(session)) for call in calls]
        return list(await asyncio.gather(*asked)) if at_once else [await one for one in asked]

    try:
        return asyncio.run(run())
    finally:
        for model in models.values():
            model.release(session)


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


def test_throughput_mode_shares_too(folders: dict[str, Path]) -> None:
    models = share(opened(folders, deterministic=False))
    calls = [Asked("low", 0), Asked("high", 1), Asked("low", 2), Asked("high", 3)]
    answers = talk(models, calls)
    assert [answer.cached_tokens for answer in answers] == [0, *lengths()[:3]]
    for ours, theirs in zip(answers, reference(folders, calls), strict=True):
        assert [token.logprob for token in ours.tokens] == pytest.approx(theirs, abs=1e-3)
    close(models)


def variant(folder: Path, like: Path, kind: str = "llama", **changes: Any) -> Path:
    """Random weights of a configuration that differs, with the tokenizer, as a folder."""
    from transformers import AutoConfig

    stated = AutoConfig.from_pretrained(like).to_dict()
    kept = {key: value for key, value in stated.items() if key not in ("model_type", "architectures")}
    model: Any = AutoModelForCausalLM
    model.from_config(AutoConfig.for_model(kind, **kept | changes)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(like).save_pretrained(folder)
    return folder


ROPE = {"rope_type": "default", "rope_theta": 5e5}


@pytest.mark.parametrize(
    ("kind", "change", "why"),
    [
        ("llama", {"num_key_value_heads": 4}, "differ in shape or type of keys and values"),
        ("llama", {"num_hidden_layers": 3}, "differ in shape or type of keys and values"),
        ("llama", {"rope_parameters": ROPE}, "differ in position encodings"),
        ("qwen2", {}, "differ in architecture"),
        ("mistral", {"sliding_window": 8}, "differ in architecture, windows of attention"),
        ("gptj", {"n_embd": 64, "n_layer": 2, "n_head": 4, "rotary_dim": 8}, "it does not run the packed way"),
    ],
)
def test_models_that_cannot_share_are_refused(
    folders: dict[str, Path], tmp_path: Path, kind: str, change: dict[str, Any], why: str
) -> None:
    models = opened({"high": folders["high"], "low": variant(tmp_path / "low", folders["high"], kind, **change)})
    with pytest.raises(MixrouteError, match=f"kv_cache.shared: model.*cannot share a cache: .*{why}"):
        share(models)
    assert talk(models, [Asked("high", 0)])[0].prompt_tokens  # nothing was changed
    close(models)


def test_models_with_other_tokenizers_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    other = variant(tmp_path / "low", folders["high"])
    tokenizer = AutoTokenizer.from_pretrained(other)
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    tokenizer.save_pretrained(other)
    models = opened({"high": folders["high"], "low": other})
    with pytest.raises(MixrouteError, match="differ in tokenizer"):
        share(models)
    close(models)


def test_models_that_compute_otherwise_are_refused(folders: dict[str, Path]) -> None:
    models = opened({"high": folders["high"]}) | opened({"low": folders["low"]}, dtype="bfloat16")
    with pytest.raises(MixrouteError, match="shape or type of keys and values"):
        share(models)
    close(models)
