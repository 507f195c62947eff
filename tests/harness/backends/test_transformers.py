"""The transformers backend on a tiny real model: same answers as plain generation, whatever the batch."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.backends.completion_cache import CompletionCache
from harness.backends.decoding import content_length
from harness.backends.encoding import Encoder
from harness.backends.reading import BLOCK
from harness.backends.transformers import TransformersBackend
from harness.traces.cost import add_costs, call_cost
from harness.traces.recording import record_call
from mixroute import Completion, Message, Prompt, Request
from tests.examples import examples
from tests.harness.backends.asking import ask, open_model, plain

WORDS = st.text(alphabet="abc \n", min_size=1, max_size=60)


@pytest.fixture(scope="module", params=["none", "nf4", "rtn-w4-channel"])
def backend(tiny_weights: Path, request: pytest.FixtureRequest) -> Iterator[TransformersBackend]:
    opened = open_model(tiny_weights, quantization=request.param)
    yield opened
    opened.close()


def test_greedy_equals_plain_generation(tiny_weights: Path) -> None:
    backend = open_model(tiny_weights)
    tokenizer = AutoTokenizer.from_pretrained(tiny_weights)
    reference: Any = AutoModelForCausalLM.from_pretrained(tiny_weights, dtype=torch.float32)
    for text in ("abc", "go to desk 1\n>", "x" * 300):
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            output = reference.generate(
                ids, max_new_tokens=8, do_sample=False, output_logits=True, return_dict_in_generate=True
            )
        (answer,) = ask(backend, plain(text))
        assert [token.id for token in answer.tokens] == output.sequences[0, ids.shape[1] :].tolist()
        for token, logits in zip(answer.tokens, output.logits, strict=True):
            logprobs = torch.log_softmax(logits[0].double(), -1)
            top = logprobs.exp().topk(2).values
            assert token.logprob == pytest.approx(float(logprobs[token.id]), abs=1e-4)
            assert token.entropy == pytest.approx(float(-(logprobs.exp() * logprobs).sum()), abs=1e-4)
            assert token.margin == pytest.approx(float(top[0] - top[1]), abs=1e-4)
    backend.close()


@examples(0.15)
@given(texts=st.lists(WORDS, min_size=2, max_size=24, unique=True), temperature=st.sampled_from([0.0, 0.8]))
def test_an_answer_does_not_depend_on_its_batch(
    backend: TransformersBackend, texts: list[str], temperature: float
) -> None:
    requests = [plain(text, f"s{i}", temperature=temperature, seed=i) for i, text in enumerate(texts)]
    alone = [ask(backend, request)[0] for request in requests]
    assert ask(backend, *requests) == alone  # log-probabilities too, to the last bit


def test_a_grown_prompt_costs_only_its_new_tokens(backend: TransformersBackend) -> None:
    async def talk() -> list[Completion]:
        messages: tuple[Message, ...] = (Message("user", "You are in a room.\n>"),)
        answers = []
        for turn in range(4):
            request = Request("talk", Prompt(messages, "plain"), max_tokens=5)
            answers.append(await backend.generate(request))
            messages += (Message("assistant", answers[-1].text), Message("user", f"You see desk {turn}.\n>"))
        return answers

    answers = asyncio.run(talk())
    backend.release("talk")
    assert answers[0].cached_tokens == 0
    for before, after in itertools.pairwise(answers):
        assert after.cached_tokens == before.prompt_tokens  # what was generated is read again, with what follows it


def conversation(*turns: str) -> tuple[Message, ...]:
    return tuple(Message(("user", "assistant")[place % 2], text) for place, text in enumerate(turns))


TURNS = st.lists(WORDS, min_size=1, max_size=7).filter(lambda turns: len(turns) % 2)


@examples(0.25)
@given(turns=TURNS, asked=st.sets(st.integers(0, 3)), draft=st.sampled_from(["", "ab"]))
def test_an_answer_is_a_function_of_its_prompt(
    backend: TransformersBackend, turns: list[str], asked: set[int], draft: str
) -> None:
    """Whichever earlier steps this model was asked at, and whoever answered them."""
    prompts = [Prompt(conversation(*turns[: 2 * step + 1]), "plain") for step in range(len(turns) // 2 + 1)]

    async def at(steps: list[int], session: str) -> Completion:
        for step in steps:
            await backend.generate(Request(session, prompts[step], continue_from="a", max_tokens=3))
            await backend.generate(Request(session, prompts[step], max_tokens=3))
        return await backend.generate(Request(session, prompts[-1], continue_from=draft, max_tokens=5))

    earlier = [step for step in sorted(asked) if step < len(prompts)]
    warm, cold = asyncio.run(at(earlier, "warm")), asyncio.run(at([], "cold"))
    backend.release("warm")
    backend.release("cold")
    assert replace(warm, cached_tokens=0) == cold  # log-probabilities too, to the last bit
    assert (warm.cached_tokens > 0) == bool(earlier and (len(prompts) > 1 or draft))


@examples(0.15)
@given(lengths=st.sets(st.integers(1, 69), max_size=5))
def test_part_of_an_answer_is_read_once_but_for_a_block(backend: TransformersBackend, lengths: set[int]) -> None:
    """However often models took turns before it."""
    answer = ("open desk 1, take pen 2; " * 3)[:70]  # the tokenizer's tokens are characters

    async def at(cuts: list[int], session: str) -> list[Completion]:
        return [await backend.generate(plain("hello", session, continue_from=answer[:cut])) for cut in cuts]

    cuts = [*sorted(lengths), len(answer)]
    warm = asyncio.run(at(cuts, "warm"))
    for before, after, cut, grown in zip(warm, warm[1:], cuts, cuts[1:], strict=False):
        assert after.prompt_tokens - before.prompt_tokens == grown - cut
        assert 0 <= before.prompt_tokens - after.cached_tokens < BLOCK
    (cold,) = asyncio.run(at([len(answer)], "cold"))
    backend.release("warm")
    backend.release("cold")
    assert replace(warm[-1], cached_tokens=0) == cold  # log-probabilities too, to the last bit


def test_a_kept_answer_is_charged_as_if_it_were_computed(tiny_weights: Path, tmp_path: Path) -> None:
    async def talk(backend: TransformersBackend, kept: int) -> list[Completion]:
        """Four steps, of which the answers of the first ``kept`` are in the store."""
        store = CompletionCache(tmp_path / f"{kept}.sqlite")
        backend.use_cache(store)
        turns = ["You are in a room.\n>", " look\n", "You see desk 1.\n>", " open\n", "It is open.\n>", " go\n", "End"]
        prompts = [Prompt(conversation(*turns[: 2 * step + 1]), "plain") for step in range(4)]
        requests = [Request(f"talk {kept}", prompt, max_tokens=5) for prompt in prompts]
        for request in requests[:kept]:
            await backend.generate(replace(request, session="before"))
        answers = [await backend.generate(request) for request in requests]
        sampled = [await backend.generate(replace(request, temperature=1.0)) for request in requests]
        assert not any(answer.reused for answer in sampled)
        store.close()
        return answers

    backend = open_model(tiny_weights)
    expected = asyncio.run(talk(backend, 0))
    assert not any(answer.reused for answer in expected)
    for kept in (1, 2, 4):
        answers = asyncio.run(talk(backend, kept))
        assert answers == expected
        assert [answer.reused for answer in answers] == [step < kept for step in range(4)]
    backend.close()


def test_a_call_that_is_cancelled_is_computed_no_further(tiny_weights: Path) -> None:
    backend = open_model(tiny_weights)
    request = next(
        one for one in (plain(text, max_tokens=40) for text in "abcdefgh") if ask(backend, one)[0].finish == "length"
    )

    async def cancel() -> bool:
        call = asyncio.create_task(backend.generate(replace(request, max_tokens=3000)))
        await asyncio.sleep(0)  # it is asked
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        return await asyncio.wrap_future(backend._worker.run(backend._engine.busy))

    assert not asyncio.run(cancel())
    backend.close()


def test_stop_strings_end_the_text_and_are_charged(backend: TransformersBackend) -> None:
    (whole,) = ask(backend, plain("hello", max_tokens=12))
    letter = next(c for c in whole.text if c.isprintable())
    (cut,) = ask(backend, plain("hello", max_tokens=12, stop=(letter,)))
    place = whole.text.index(letter)
    assert cut.text == whole.text[:place]
    assert (cut.finish, whole.finish) == ("stop", "length")
    assert len(cut.tokens) > cut.content_tokens
    assert cut.tokens == whole.tokens[: len(cut.tokens)]


def test_continuing_an_answer_equals_never_having_stopped(tiny_weights: Path) -> None:
    backend = open_model(tiny_weights)
    for text in ("hello", "abc", "zz"):
        (whole,) = ask(backend, plain(text, max_tokens=10))
        if not whole.text.isascii() or len(whole.text) < 4:
            continue
        (rest,) = ask(backend, plain(text, max_tokens=10 - 3, continue_from=whole.text[:3]))
        assert whole.text[:3] + rest.text == whole.text
    backend.close()


def test_sampling_follows_its_seed(backend: TransformersBackend) -> None:
    requests = [plain("hello", f"s{i}", temperature=1.5, seed=i % 3) for i in range(6)]
    texts = [answer.text for answer in ask(backend, *requests)]
    assert texts[:3] == texts[3:]
    assert len(set(texts)) > 1


def test_chat_prompts_go_through_the_template(backend: TransformersBackend) -> None:
    prompt = Prompt((Message("system", "Be brief."), Message("user", "Hi")), "chat")
    text = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    (chat,) = ask(backend, Request("chat", prompt, max_tokens=4))
    (same,) = ask(backend, plain(text, max_tokens=4))
    assert replace(chat, timing=same.timing) == same


def test_the_card_counts_what_is_stored(tiny_weights: Path) -> None:
    high, low = open_model(tiny_weights), open_model(tiny_weights, quantization="nf4")
    per_layer = 64 * 64 * 2 + 64 * 32 * 2 + 64 * 128 * 3
    linear, other = 2 * per_layer, 259 * 64 + 5 * 64
    assert high.card().parameters == low.card().parameters == linear + other
    assert high.card().weight_bytes == 4 * (linear + other)
    assert low.card().weight_bytes == linear // 2 + 4 * (linear // 64) + 4 * other
    assert high.card().fingerprint != low.card().fingerprint
    high.close()
    low.close()


def test_a_character_of_several_tokens_is_counted_whole(tiny_weights: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_weights)
    ids = tokenizer("é!\n")["input_ids"]
    assert [content_length(tokenizer, ids, text) for text in ("", "é", "é!", "é!\n")] == [0, 2, 3, 4]


def test_reading_first_costs_nothing_and_changes_nothing(tiny_weights: Path, tmp_path: Path) -> None:
    backend = open_model(tiny_weights)
    reference: Any = AutoModelForCausalLM.from_pretrained(tiny_weights, dtype=torch.float32)
    prompt = Prompt(conversation("You are in a room.\n>", " look\n", "You see desk 1.\n>"), "plain")
    ids = Encoder(AutoTokenizer.from_pretrained(tiny_weights)).encode(prompt).ids

    async def talk(session: str, *, read: bool) -> list[Completion]:
        request = Request(session, prompt, max_tokens=5)
        first = [await backend.generate(replace(request, max_tokens=0))] if read else []
        return [*first, await backend.generate(request)]

    (plainly,) = asyncio.run(talk("plain", read=False))
    for store in (None, CompletionCache(tmp_path / "a.sqlite"), CompletionCache(tmp_path / "a.sqlite")):
        if store is not None:
            backend.use_cache(store)
        for _ in range(2):
            reading, answer = asyncio.run(talk("read", read=True))
            backend.release("read")
            assert (reading.text, reading.tokens, reading.prompt_tokens) == ("", (), len(ids))
            with torch.inference_mode():
                states = reference(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1]
            torch.testing.assert_close(torch.tensor(reading.state), states[0, -1], atol=1e-4, rtol=1e-4)
            assert answer.tokens == plainly.tokens
            assert (reading.cached_tokens, answer.cached_tokens) == (0, len(ids))
            # Together they cost what the answer alone costs.
            card = backend.card()
            one, other, alone = (
                call_cost(record_call(call, switch=False), card) for call in (reading, answer, plainly)
            )
            assert add_costs(one, other) == alone
    backend.close()


def test_dropped_caches_change_no_answer_and_no_charge(tiny_weights: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def crowd(backend: TransformersBackend) -> list[Completion]:
        answers = []
        for turns in (["x" * 100], ["x" * 100, "y", "z"]):  # each cache holds 128 tokens or more: 128 KiB
            for i in range(40):
                request = Request(f"s{i}", Prompt(conversation(*turns), "plain"), max_tokens=3)
                answers.append(await backend.generate(request))
        return answers

    roomy, narrow = open_model(tiny_weights), open_model(tiny_weights, kv_cache_mb=1)
    expected = asyncio.run(crowd(roomy))
    assert not caplog.records
    assert asyncio.run(crowd(narrow)) == expected
    assert {answer.cached_tokens for answer in expected[40:]} == {100}
    assert [record.message for record in caplog.records] == [
        "model 'high': its caches outgrew kv_cache_mb, so prompts are read again: lower --concurrency, or raise it"
    ]
    roomy.close()
    narrow.close()
