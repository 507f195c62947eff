"""Backend openai against replies that are no completion, or that state what cannot be true."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.backends.served.alignment import ListedToken, find_text
from harness.errors import RunStopped
from mixroute import Completion, EpisodeError, Message, Prompt, Request
from tests.harness.backends.served.serving import PLAIN, Reply, opened, plain, serving

USAGE = {"prompt_tokens": 20, "completion_tokens": 3, "total_tokens": 23}


def token(text: str, logprob: float | None = -0.1, **changes: Any) -> dict[str, Any]:
    likely = [{"token": text, "logprob": logprob}, {"token": "other", "logprob": -3.0}]
    return {"token": text, "logprob": logprob, "bytes": None, "top_logprobs": likely, **changes}


GO = [token("go"), token(" north"), token("<end>")]


def chat(content: Any = "go north", tokens: Any = GO, usage: Any = USAGE, **changes: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, **changes.pop("message", {})}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": {"content": tokens}, **changes}
    return {"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage}


def ask(*replies: Reply, **changes: Any) -> tuple[Completion, list[dict[str, Any]]]:
    """The completion of a chat, where the endpoint gives these replies, the last one again and again; and what it was
    asked.
    """
    options = {"retries": 1, **changes.pop("options", {})}
    prompt = Prompt((Message("system", "s"), Message("user", "hello")))
    with serving(lambda number: replies[min(number, len(replies) - 1)]) as (endpoint, url):
        request = Request("s", prompt, **{"max_tokens": 8, "stop": ("\n",), **changes})
        return asyncio.run(opened(url, **options).generate(request)), endpoint.asked


@pytest.mark.parametrize(
    ("reply", "error", "message"),
    [
        ((200, b"<!doctype html><title>Sign in</title>"), RunStopped, "it is a web page: is base_url right?"),
        ((404, b"<html>Not found</html>"), RunStopped, "is base_url right?"),
        ((404, {"detail": "Not Found"}), RunStopped, "is base_url right?"),
        ((403, {"error": {"message": "Flagged by moderation"}}), EpisodeError, "Flagged"),
        ((500, b"x" * 2_000_000), EpisodeError, "failed: 500 xxx"),
        ((200, {"status": "ok"}), RunStopped, "without 'choices': 'status': is base_url right?"),
        ((200, [1, 2]), RunStopped, "is base_url right?"),
        ((200, b"pong"), RunStopped, "is base_url right?"),
        ((200, json.dumps(chat()).encode()[:100]), EpisodeError, "cut off after 100 bytes"),
        ((200, b""), EpisodeError, "it is empty"),
        ((200, b'{"choices": ' + b"[" * 9000), EpisodeError, "no completion"),
        ((200, {"choices": [], "usage": USAGE}), EpisodeError, "its list of choices is empty"),
        ((200, {"choices": [{"message": None}]}), EpisodeError, "without a message"),
        ((200, {"choices": "none"}), EpisodeError, r"not in the form of a completion.*choices"),
        ((200, chat(5)), EpisodeError, r"not in the form of a completion.*content"),
        ((200, chat(None, [], message={"tool_calls": [{"id": "1"}]})), EpisodeError, "a call of a tool"),
        ((200, chat(None, [], message={"refusal": "I cannot"})), EpisodeError, "a refusal: 'I cannot"),
        ((200, chat("", [], finish_reason="content_filter")), EpisodeError, "a filter"),
        ((200, chat(logprobs=None)), RunStopped, "gives no log-probabilities"),
        ((200, chat(tokens=[token("go", top_logprobs=None)])), RunStopped, "gives no top_logprobs"),
        ((200, chat(tokens=[token("go", None), token(" north")])), EpisodeError, "token 1 of its text has no log-prob"),
        (
            (200, chat(tokens=[token("go"), token(" north", math.nan)])),
            EpisodeError,
            "token 2 .* log-probability of nan",
        ),
        ((200, chat(tokens=[token("go", 0.5), token(" north")])), EpisodeError, "log-probability of 0.5"),
        ((200, chat(usage={**USAGE, "completion_tokens": 10**9})), EpisodeError, "1,000,000,000 tokens, and 8 were"),
        ((200, chat(usage={**USAGE, "prompt_tokens": 10**9})), EpisodeError, "a prompt of 6 bytes has 1,000,000,000"),
        ((200, chat(usage={**USAGE, "prompt_tokens": 1.5})), EpisodeError, "prompt_tokens = 1.5"),
        ((200, chat(usage={**USAGE, "prompt_tokens": -1})), EpisodeError, "prompt_tokens = -1"),
        ((200, chat(usage={**USAGE, "completion_tokens": math.inf})), EpisodeError, "completion_tokens = inf"),
        ((200, chat("a" * 12, [token("a")] * 12)), EpisodeError, "12 tokens, and 8 were asked for"),
        ((200, b'{"pad": "' + b"x" * 2_000_000 + b'"}'), EpisodeError, "more than 1,179,648 bytes"),
        ((200, {"error": {"message": "Provider failed", "code": 502}}), EpisodeError, "502 Provider failed"),
        ((200, {"error": {"message": "Insufficient credits", "code": 402}}), RunStopped, "no credit left"),
        ((402, {"error": {"message": "Pay first"}}), RunStopped, "no credit left"),
        ((429, {"error": {"message": "x", "code": "insufficient_quota"}}), RunStopped, "no credit left"),
        ((400, {"error": {"message": "logprobs are not supported with this model"}}), RunStopped, "logprobs are not"),
        ((400, {"error": {"message": "Unsupported value: 'temperature'"}}), RunStopped, "refuses what every call asks"),
    ],
)
def test_a_reply_that_is_no_completion_ends_what_it_must(reply: Reply, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ask(reply)


def test_errors_within_status_200_are_retried_like_their_status() -> None:
    for code in (429, "503", "overloaded_error"):
        answer, asked = ask((200, {"error": {"message": "busy", "code": code}}), (200, chat()))
        assert (answer.text, len(asked)) == ("go north", 2)
    with pytest.raises(EpisodeError, match="bad request"):
        ask((200, {"error": {"message": "bad request", "code": 400}}), (200, chat()))


def test_an_endpoint_that_has_answered_keeps_its_run() -> None:
    replies: list[Reply] = [(200, chat()), (200, b"<html>maintenance</html>"), (200, chat(logprobs=None))]

    async def three() -> list[Any]:
        with serving(lambda number: replies[number]) as (_, url):
            backend = opened(url)
            prompt = Prompt((Message("user", "hello"),))
            calls = [
                await asyncio.gather(backend.generate(Request("s", prompt)), return_exceptions=True) for _ in "123"
            ]
            return [call[0] for call in calls]

    first, page, silent = asyncio.run(three())
    assert first.text == "go north"
    assert isinstance(page, EpisodeError) and "web page" in str(page)
    assert isinstance(silent, EpisodeError) and "log-probabilities" in str(silent)


def test_what_an_endpoint_refuses_is_sent_otherwise() -> None:
    refused = {"error": {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}}
    answer, asked = ask((400, refused), (200, chat()))
    assert answer.text == "go north"
    assert (asked[1]["max_completion_tokens"], "max_tokens" in asked[1]) == (8, False)

    forbidden = {"detail": [{"loc": ["body", "max_tokens"], "msg": "Extra inputs are not permitted"}]}
    assert "max_completion_tokens" in ask((422, forbidden), (200, chat()))[1][1]

    stops = ("a:", "b:", "c:", "d:", "\n")
    refused = {"error": {"message": "Invalid 'stop': array too long. Expected an array with maximum length 4"}}
    answer, asked = ask((400, refused), (200, chat("go\nb", [token("go"), token("\nb")])), stop=stops)
    assert (answer.text, answer.finish, answer.content_tokens, len(answer.tokens)) == ("go", "stop", 1, 3)
    assert asked[1]["stop"] == list(stops[:4])

    answer, asked = ask((400, {"error": {"message": "Unsupported parameter: 'seed'"}}), (200, chat()), seed=2**64 - 5)
    assert answer.text == "go north"
    assert asked[0]["seed"] < 2**63 and "seed" not in asked[1]


def test_calls_that_are_refused_together_are_all_sent_otherwise() -> None:
    refused = {"error": {"message": "'max_tokens' is not supported: use 'max_completion_tokens'"}}

    async def many(url: str) -> list[Completion]:
        backend = opened(url)
        prompt = Prompt((Message("user", "hello"),))
        return await asyncio.gather(*(backend.generate(Request(str(number), prompt)) for number in range(5)))

    with serving(lambda number: (400, refused) if number < 5 else (200, chat())) as (_, url):
        assert [one.text for one in asyncio.run(many(url))] == ["go north"] * 5


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"prompt_tokens": None, "completion_tokens": 3},
        {"prompt_tokens": 20, "completion_tokens": None},
        {"prompt_tokens": 0, "completion_tokens": 0},
    ],
)
def test_usage_that_is_not_told_is_unknown(usage: Any) -> None:
    assert not ask((200, chat(usage=usage)))[0].usage_known


def test_usage_may_be_integral_floats() -> None:
    answer, _ = ask((200, chat(usage={"prompt_tokens": 20.0, "completion_tokens": 5.0})))
    assert (answer.usage_known, answer.prompt_tokens, len(answer.tokens)) == (True, 20, 5)


def test_thoughts_are_charged_and_no_part_of_the_answers_statistics() -> None:
    thoughts = [token("go", -1.5), token(" north", -1.2), token(" or not", -1.0), token("</think>")]
    tokens = [*thoughts, token("\n\ngo", -0.01), token(" north", -0.02), token("<end>")]
    usage = {**USAGE, "completion_tokens": 7}
    answer, _ = ask((200, chat("go north", tokens, usage, message={"reasoning_content": "go north or not"})))
    assert (answer.content_tokens, len(answer.tokens)) == (2, 7)
    assert answer.statistics.content.logprobs == (-0.01, -0.02)
    # More thoughts than were asked for, which are not listed, are charged too.
    hidden = {**USAGE, "completion_tokens": 503, "completion_tokens_details": {"reasoning_tokens": 500}}
    assert len(ask((200, chat(usage=hidden)))[0].tokens) == 503


def test_tokens_that_do_not_hold_the_text_have_no_statistics() -> None:
    answer, _ = ask((200, chat("go north", [token("quite"), token(" another")])))
    assert (answer.text, answer.statistics_known, len(answer.tokens)) == ("go north", False, 3)
    with pytest.raises(ValueError, match="statistics of the tokens of model 'high' are not known"):
        _ = answer.statistics


def test_infinite_log_probabilities_and_half_characters_can_be_written() -> None:
    lowest = chat("go \ud83d", [token("go", -math.inf), token(" \ud83d")])
    answer, _ = ask((200, lowest))
    assert answer.text == "go \N{REPLACEMENT CHARACTER}"
    assert answer.tokens[0].logprob == -9999.0
    huge = json.dumps(lowest).replace("-Infinity", "-1e999").encode()
    assert ask((200, huge))[0].tokens == answer.tokens


@pytest.mark.parametrize("text", ["go north", "go north\nYou arrive", "go north\n"])
def test_an_ignored_stop_string_cuts(text: str) -> None:
    tokens = [token("go"), token(" north"), *([token(text[8:])] if text[8:] else [])]
    answer, _ = ask((200, chat(text, tokens)))
    assert (answer.text, answer.content_tokens, answer.finish) == ("go north", 2, "stop")


words = st.text(st.sampled_from("ab é\n</think>🙂"), min_size=1, max_size=3)


@given(before=st.lists(words, max_size=4), answer=st.lists(words, min_size=1, max_size=5), data=st.data())
def test_the_answers_tokens_are_found_behind_any_thoughts(
    before: list[str], answer: list[str], data: st.DataObject
) -> None:
    text = "".join(answer)
    beginning = text[: data.draw(st.integers(0, len(text)))]
    found = find_text([ListedToken(one) for one in [*before, "\x00", *answer]], text, beginning)
    assert found is not None
    start, end = found
    listed = [*before, "\x00", *answer]
    assert "".join(listed[start:]).lstrip().startswith(text.lstrip())
    assert "".join(listed[start:end]).lstrip().startswith(beginning.lstrip())


@given(st.lists(st.text(max_size=2), min_size=1, max_size=6))
def test_characters_of_several_tokens_are_found(parts: list[str]) -> None:
    text = "".join(parts).replace("\N{REPLACEMENT CHARACTER}", "")
    raw = text.encode("utf-8", "replace")
    text = raw.decode()
    if not text:
        return
    single = [bytes([value]) for value in raw]
    assert find_text([ListedToken("", one) for one in single], text, text) == (0, len(single))
    escaped = [ListedToken(f"bytes:\\x{one.hex()}") for one in single]
    assert find_text(escaped, text, text) == (0, len(single))


@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.floats() | st.text(max_size=5),
        lambda x: (
            st.lists(x)
            | st.dictionaries(
                st.sampled_from(["choices", "message", "content", "usage", "error", "logprobs", "code", "tokens"]), x
            )
        ),
    )
)
def test_no_reply_is_a_traceback(content: Any) -> None:
    from harness.backends.served.refusals import refusal_in
    from harness.backends.served.reply import completion_of
    from harness.backends.served.schema import NotAnswered, checked_reply, decoded_json
    from mixroute import Timing

    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    try:
        decoded = decoded_json(body)
        if refusal_in(decoded) is None:
            completion_of("high", checked_reply(decoded), plain(), 8, Timing())
    except NotAnswered:
        pass


def test_the_reply_of_the_fuzz_is_one() -> None:
    assert ask((200, {**PLAIN, "choices": PLAIN["choices"]}))[0].text == " go north"
