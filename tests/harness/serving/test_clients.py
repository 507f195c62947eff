"""OpenAI's own client against a server: whole answers, streams, many conversations at once, and errors."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types import Completion as TextCompletion
from openai.types.chat import ChatCompletion

from mixroute import Request
from tests.harness.serving.conftest import Serve
from tests.harness.serving.serving import recorded
from tests.scripted import ScriptedModel

SYSTEM = {"role": "system", "content": "Be brief."}


def user(text: str) -> Any:
    return {"role": "user", "content": text}


def assistant(text: str | None) -> dict[str, str]:
    return {"role": "assistant", "content": text or ""}


def test_a_conversation_is_routed_step_by_step(serve: Serve, tmp_path: Path) -> None:
    messages: list[Any] = [SYSTEM, user("hello")]
    answered = []
    with serve("every-k,k=2") as server:
        client = server.client()
        for _ in range(3):
            reply = client.chat.completions.create(model="every-k", messages=messages)
            assert reply.model_extra is not None
            answered.append(reply.model_extra["mixroute"])
            messages += [assistant(reply.choices[0].message.content), user("and then?")]
    assert [one["answered_by"] for one in answered] == ["high", "low", "high"]
    assert [one["step"] for one in answered] == [0, 1, 2]
    assert len({one["session"] for one in answered}) == 1
    _, episodes = recorded(tmp_path / "out")["every-k", "unjudged"]
    (episode,) = episodes.values()
    assert [step.observation for step in episode.steps] == ["hello", "and then?", "and then?"]
    assert [step.text for step in episode.steps] == ["2: hello", "4: and then?", "6: and then?"]
    assert [step.calls[0].switch for step in episode.steps] == [False, True, True]


def test_answers_have_the_form_that_clients_expect(serve: Serve) -> None:
    with serve("always-low") as server:
        asked = {"model": "always-low", "messages": [user("hello")], "max_tokens": 50}
        chat = ChatCompletion.model_validate(server.post("/v1/chat/completions", json=asked).json())
        text = TextCompletion.model_validate(
            server.post("/v1/completions", json={"model": "low", "prompt": ["hello"]}).json()
        )
        assert [one.id for one in server.client().models.list()] == ["always-low", "high", "low"]
        assert server.client().models.retrieve("low").id == "low"
    assert (chat.object, chat.choices[0].finish_reason) == ("chat.completion", "stop")
    assert chat.choices[0].message.content == text.choices[0].text == "1: hello"
    assert chat.usage is not None
    assert chat.usage.prompt_tokens_details is not None
    assert (chat.usage.prompt_tokens, chat.usage.prompt_tokens_details.cached_tokens) == (10, 4)
    assert (chat.usage.completion_tokens, chat.usage.total_tokens) == (9, 19)


def test_usage_is_the_sum_of_all_calls(serve: Serve) -> None:
    """A cascade that asks low, and then high, has read twice as much."""
    with serve("uncertainty,threshold=0.5") as server:  # the scripted entropy is 1
        reply = server.client().chat.completions.create(model="uncertainty", messages=[user("hello")])
    assert reply.usage is not None
    assert reply.model_extra is not None
    routing = reply.model_extra["mixroute"]
    assert [call["model"] for call in routing["calls"]] == ["low", "high"]
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (20, 18)
    assert routing["scores"] == {"doubt": 1.0, "threshold": 0.5}
    assert routing["calls"][0]["flops"] == 2 * 1000 * (6 + 9)


def test_a_stream_says_the_same_as_a_whole_answer(serve: Serve) -> None:
    asked: Any = {"model": "always-low", "messages": [user("  one\n\n two three ")], "max_tokens": 50}
    with serve("always-low") as server:
        client = server.client()
        whole = client.chat.completions.create(**asked)
        chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
        texts = list(client.completions.create(model="low", prompt="x y ", stream=True))
    parts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(parts) == whole.choices[0].message.content == "1:   one\n\n two three "
    assert len(parts) > 4
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-2:] == [None, "stop"]
    assert [chunk.usage for chunk in chunks][-1] == whole.usage
    assert not any(chunk.usage for chunk in chunks[:-1])
    assert "".join(chunk.choices[0].text for chunk in texts) == "1: x y "
    assert texts[-1].choices[0].finish_reason == "stop"


def test_conversations_that_run_at_once_are_never_mixed(serve: Serve, tmp_path: Path) -> None:
    """Forty agents that begin alike; what each says later tells whose answers it gets."""

    def answer(request: Request) -> str:
        return "|".join(message.content for message in request.prompt.messages if message.role == "user")

    async def agent(client: openai.AsyncOpenAI, number: int) -> None:
        messages: list[Any] = [user("hello")]
        for turn in range(4):
            reply = await client.chat.completions.create(model="always-low", messages=messages)
            content = reply.choices[0].message.content
            assert content == "|".join(one["content"] for one in messages if one["role"] == "user")
            messages += [assistant(content), user(f"{number}.{turn}")]

    async def all_agents(client: openai.AsyncOpenAI) -> None:
        async with client:
            await asyncio.gather(*(agent(client, number) for number in range(40)))

    with serve("always-low", ScriptedModel("low", answer, 0.01), running=8) as server:
        asyncio.run(all_agents(server.async_client()))
    _, episodes = recorded(tmp_path / "out")["always-low", "unjudged"]
    assert sorted(one.steps[-1].observation for one in episodes.values()) == sorted(f"{n}.2" for n in range(40))
    for episode in episodes.values():
        own = {step.observation.partition(".")[0] for step in episode.steps[1:]}
        assert len(episode.steps) == 4
        assert len(own) == 1


def test_parameters_reach_the_model(serve: Serve) -> None:
    model = ScriptedModel("low", lambda request: "x")
    asked: Any = {"model": "always-low", "messages": [{"role": "developer", "content": "a"}, user("b")]}
    with serve("always-low", model, temperature=0.3, max_tokens=77) as server:
        client = server.client()
        for seed in (5, 5, 6):
            client.chat.completions.create(
                **asked, stop=["\n", "."], max_completion_tokens=9, temperature=1.5, seed=seed
            )
        client.chat.completions.create(**asked, stop="!")
        client.completions.create(model="low", prompt="b")
        client.chat.completions.create(
            model="low", messages=[{"role": "user", "content": [{"type": "text", "text": "c"}]}]
        )
    first, again, other, plain, text, parts = model.requests
    assert [one.role for one in first.prompt.messages] == ["system", "user"]
    assert (first.stop, first.max_tokens, first.temperature) == (("\n", "."), 9, 1.5)
    assert first.seed == again.seed != other.seed
    assert (plain.stop, plain.max_tokens, plain.temperature) == (("!",), 77, 0.3)
    assert (text.prompt.format, text.max_tokens) == ("plain", 16)
    assert parts.prompt.messages[0].content == "c"


@pytest.mark.parametrize(
    ("change", "error", "parameter"),
    [
        ({"model": "gpt-4"}, openai.NotFoundError, "model"),
        ({"n": 2}, openai.BadRequestError, "n"),
        ({"n": True}, openai.BadRequestError, "n"),
        ({"top_p": 0.9}, openai.BadRequestError, "top_p"),
        ({"logprobs": True}, openai.BadRequestError, "logprobs"),
        ({"tools": [{"type": "function"}]}, openai.BadRequestError, "tools"),
        ({"response_format": {"type": "json_object"}}, openai.BadRequestError, "response_format"),
        ({"temprature": 1}, openai.BadRequestError, "temprature"),
        ({"temperature": 3}, openai.BadRequestError, "temperature"),
        ({"max_tokens": 0}, openai.BadRequestError, "max_tokens"),
        ({"max_tokens": 1 << 20}, openai.BadRequestError, "max_tokens"),
        ({"max_tokens": 3, "max_completion_tokens": 4}, openai.BadRequestError, "max_tokens"),
        ({"stop": [""]}, openai.BadRequestError, "stop"),
        ({"messages": []}, openai.BadRequestError, "messages"),
        ({"messages": None}, openai.BadRequestError, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, openai.BadRequestError, "messages.0.role"),
        ({"messages": [{"role": "tool", "content": "x"}]}, openai.BadRequestError, "messages.0"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            openai.BadRequestError,
            "messages.0.content",
        ),
    ],
)
def test_what_is_not_done_is_an_error_of_openais_form(
    change: dict[str, Any], error: type[openai.APIStatusError], parameter: str, serve: Serve
) -> None:
    model = ScriptedModel("low")
    with serve("always-low", model) as server, pytest.raises(error) as caught:
        server.client().chat.completions.create(model="always-low", messages=[user("hello")], extra_body=change)
    assert caught.value.param == parameter
    assert caught.value.type == "invalid_request_error"
    assert caught.value.code
    assert not model.requests


def test_parameters_that_change_nothing_are_taken(serve: Serve) -> None:
    neutral = {"n": 1, "top_p": 1.0, "logprobs": False, "tools": [], "user": "me", "metadata": {"a": "b"}, "stop": None}
    with serve("always-low") as server:
        asked = {"model": "always-low", "messages": [user("hello")], **neutral}
        assert server.post("/v1/chat/completions", json=asked).status_code == 200
