"""Backend openai against a server that fails on command; real servers are asked in test_contract.py."""

from __future__ import annotations

import asyncio
import time

import pytest

from harness.backends.served.openai import OpenAIBackend
from harness.errors import RunStopped
from harness.pool import ModelSpec
from mixroute import EpisodeError, Message, MixrouteError, Prompt, Request
from tests.harness.backends.served.serving import PLAIN, Reply, opened, plain, serving


def test_an_answer_is_read_with_its_tokens_and_what_was_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "secret-key")
    with serving(lambda _: (200, PLAIN)) as (endpoint, url):
        backend = opened(url, api_key_env="A_KEY", extra_body={"top_k": 1})
        answer = asyncio.run(backend.generate(plain(continue_from=" go")))
        # Another run, in a loop of its own.
        assert asyncio.run(backend.generate(plain())).text == " go north"
    assert endpoint.asked[0]["prompt"] == "You are in a room.\n> go"
    assert {"stop": ["\n"], "max_tokens": 8, "temperature": 0.0, "top_k": 1}.items() <= endpoint.asked[0].items()
    assert endpoint.keys == ["Bearer secret-key"] * 2
    assert "secret-key" not in repr(backend.card())
    assert (answer.text, answer.finish, answer.prompt_tokens, answer.cached_tokens) == (" go north", "stop", 40, 32)
    # Three tokens make the text; the line break, and one that was not shown, were written too.
    assert (answer.content_tokens, len(answer.tokens)) == (3, 5)
    assert answer.tokens[0].margin == pytest.approx(0.9048374 - 0.0820850, rel=5e-5)  # tokens keep 5 digits
    assert 0 < answer.timing.decode <= answer.timing.latency


def test_a_chat_is_asked_in_messages() -> None:
    content = {"token": "hi", "logprob": -0.1, "bytes": None, "top_logprobs": [{"token": "hi", "logprob": -0.1}]}
    message = {"role": "assistant", "content": "hi"}
    choice = {"index": 0, "message": message, "finish_reason": "length", "logprobs": {"content": [content]}}
    reply = {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}}
    prompt = Prompt((Message("system", "Be brief."), Message("user", "Hello")))
    with serving(lambda _: (200, {**PLAIN, "object": "chat.completion", **reply})) as (endpoint, url):
        answer = asyncio.run(opened(url).generate(Request("s", prompt, continue_from="O", max_tokens=1)))
    assert endpoint.paths == ["/v1/chat/completions"]
    assert [one["role"] for one in endpoint.asked[0]["messages"]] == ["system", "user", "assistant"]
    assert endpoint.asked[0]["continue_final_message"] is True
    assert (answer.text, answer.finish, answer.cached_tokens) == ("hi", "length", 0)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_may_pass_is_tried_again(status: int) -> None:
    with serving(lambda number: (status, {"error": {"message": "busy"}}) if number < 2 else (200, PLAIN)) as (_, url):
        assert asyncio.run(opened(url).generate(plain())).text == " go north"


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (401, RunStopped, r"refuses the key in \$OPENAI_API_KEY"),
        (404, RunStopped, "no model 'm' there"),
        (400, EpisodeError, "too long for the context"),
        (500, EpisodeError, "too long for the context"),
    ],
)
def test_failures_end_what_they_must(status: int, error: type[Exception], message: str) -> None:
    refusal = {"error": {"message": "too long for the context"}}
    with serving(lambda _: (status, refusal)) as (endpoint, url), pytest.raises(error, match=message):
        asyncio.run(opened(url, retries=1).generate(plain()))
    assert len(endpoint.asked) == (2 if status == 500 else 1)


def test_an_endpoint_that_is_not_there_is_named() -> None:
    with serving(lambda _: (200, PLAIN)) as (_, url):
        pass
    with pytest.raises(RunStopped, match=rf"model 'high' at {url} cannot be reached after 1 tries"):
        asyncio.run(opened(url, retries=0).generate(plain()))


def test_one_that_hangs_ends_its_episode() -> None:
    def hang(_: int) -> Reply:
        time.sleep(0.5)
        return 200, PLAIN

    with serving(hang) as (_, url), pytest.raises(EpisodeError, match="timed out"):
        asyncio.run(opened(url, retries=0, timeout=0.1).generate(plain()))


def test_no_more_calls_fly_than_are_allowed_and_a_cancelled_one_frees_its_place() -> None:
    def slow(_: int) -> Reply:
        time.sleep(0.05)
        return 200, PLAIN

    async def many(backend: OpenAIBackend) -> None:
        calls = [asyncio.create_task(backend.generate(plain(str(number)))) for number in range(9)]
        await asyncio.sleep(0.01)
        calls[0].cancel()
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError)
        assert not any(isinstance(one, BaseException) for one in found[1:])

    with serving(slow) as (endpoint, url):
        asyncio.run(many(opened(url, max_in_flight=2)))
    assert endpoint.most <= 3  # the server may still be busy with the cancelled one


def test_calls_keep_to_a_rate() -> None:
    async def three(backend: OpenAIBackend) -> float:
        began = time.monotonic()
        await asyncio.gather(*(backend.generate(plain(str(number))) for number in range(3)))
        return time.monotonic() - began

    with serving(lambda _: (200, PLAIN)) as (_, url):
        seconds = asyncio.run(three(opened(url, requests_per_minute=600)))
    assert seconds >= 0.2  # the second and the third wait for an interval of a tenth of a second each


def test_what_an_endpoint_cannot_do_is_said() -> None:
    with pytest.raises(MixrouteError, match="set 'mode: throughput' in the suite"):
        OpenAIBackend("high", ModelSpec(backend="openai", weights="m"), deterministic=True)
    with pytest.raises(MixrouteError, match="parameters"):
        opened("http://localhost/v1", parameters=0)
    with pytest.raises(RunStopped, match="gives no hidden states"):
        asyncio.run(opened("http://localhost/v1").generate(plain(max_tokens=0)))
    with pytest.raises(RunStopped, match="does not say how likely a given reply is"):
        asyncio.run(opened("http://localhost/v1").generate(plain(max_tokens=0, continue_from="go")))
    silent = {**PLAIN, "choices": [{**PLAIN["choices"][0], "logprobs": None}]}
    with serving(lambda _: (200, silent)) as (_, url), pytest.raises(RunStopped, match="gives no log-probabilities"):
        asyncio.run(opened(url).generate(plain()))


def test_connections_end_with_their_event_loop() -> None:
    with serving(lambda _: (200, PLAIN)) as (_, url):
        backend = opened(url)
        clients = []
        for _ in range(2):
            asyncio.run(backend.generate(plain()))
            clients.append(backend._endpoint._client)
        backend.close()
    assert clients[0] is not clients[1]
    assert all(client.is_closed for client in clients)
