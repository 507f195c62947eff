"""Bodies that are no requests: whatever they hold, the client is told, and the server goes on."""

from __future__ import annotations

import json

import httpx
from hypothesis import given
from hypothesis import strategies as st

from harness.serving.errors import ApiError
from harness.serving.schema import chat_question, outcome_of, text_question
from tests.examples import parser_examples
from tests.harness.serving.conftest import Serve

HELLO = [{"role": "user", "content": "hello"}]


def test_requests_that_are_too_large_or_no_json_are_refused(serve: Serve) -> None:
    with serve("always-low", body_bytes=2000) as server:
        too_large = json.dumps({"model": "always-low", "messages": [{"role": "user", "content": "x" * 3000}]})
        json_type = {"Content-Type": "application/json"}
        for headers, content, status in (
            (json_type, too_large, 413),
            (json_type, "{", 400),
            (json_type, "[]", 400),
            (json_type, "[" * 1900, 400),
            (json_type, '{"model": "\\ud800"}', 400),
            (json_type, b"\xff\xfe", 400),
            ({"Content-Type": "text/plain"}, "{}", 415),
            ({**json_type, "Host": "evil.example"}, "{}", 403),
            ({**json_type, "x-session-id": "a b"}, json.dumps({"model": "low", "messages": HELLO}), 400),
        ):
            answer = server.post("/v1/chat/completions", content=content, headers=headers)
            assert (answer.status_code, set(answer.json())) == (status, {"error"}), content[:40]
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        assert httpx.get(f"{server.url}/nowhere").json()["error"]["message"] == "Not Found"
        assert httpx.get(f"{server.url}/v1/completions").status_code == 405
        assert server.post("/v1/chat/completions", json={"model": "low", "messages": HELLO}).status_code == 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(
    [
        "model",
        "messages",
        "prompt",
        "stop",
        "max_tokens",
        "temperature",
        "seed",
        "stream",
        "stream_options",
        "n",
        "score",
    ]
)
message_like = st.dictionaries(
    st.sampled_from(["role", "content", "tool_calls"]), json_values | st.sampled_from(["user", "tool"])
)


@given(st.dictionaries(names, json_values | st.lists(message_like, max_size=3) | st.just("low")) | json_values)
@parser_examples(60)
def test_whatever_a_body_holds_it_is_a_question_or_an_error_of_the_client(body: object) -> None:
    content = json.dumps(body).encode()
    for read in (chat_question, text_question, outcome_of):
        try:
            read(content)
        except ApiError as error:
            assert 400 <= error.status < 500
            json.dumps(error.body).encode()
