"""Clients that vanish, or share a session; models, routers and disks that fail."""

from __future__ import annotations

import http.client
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from harness.errors import RunStopped
from mixroute import Completion, Request
from tests.harness.serving.conftest import Serve
from tests.harness.serving.models import Held, echo, wait_until
from tests.harness.serving.serving import Served, recorded, served
from tests.scripted import ScriptedModel

HELLO: list[Any] = [{"role": "user", "content": "hello"}]


def ask(server: Served, session: str = "s", text: str = "hello", model: str = "always-low") -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    return server.post("/v1/chat/completions", json=body, headers={"x-session-id": session})


def begin(server: Served, session: str = "s", **more: object) -> http.client.HTTPConnection:
    """A request whose answer nobody has read yet."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
    body = json.dumps({"model": "always-low", "messages": HELLO, **more})
    headers = {"Content-Type": "application/json", "x-session-id": session}
    connection.request("POST", "/v1/chat/completions", body, headers)
    return connection


def test_a_client_that_goes_before_its_answer_cancels_the_call(serve: Serve, held: Held, tmp_path: Path) -> None:
    with serve("always-low", held) as server:
        connection = begin(server)
        wait_until(lambda: held.requests)
        connection.close()
        wait_until(lambda: held.cancelled)
        held.go.set()
        assert ask(server).json()["choices"][0]["message"]["content"] == "1: hello"  # the session goes on
    _, episodes = recorded(tmp_path / "out")["always-low", "unjudged"]
    assert [len(step.calls) for step in episodes["s"].steps] == [1]
    assert episodes["s"].error is None


def test_a_client_that_goes_in_mid_stream_loses_no_step(serve: Serve, tmp_path: Path) -> None:
    text = "a " * 20_000  # in as many events
    with serve("always-low", ScriptedModel("low", lambda request: text)) as server:
        connection = begin(server, stream=True)
        assert connection.getresponse().read(1000)
        connection.close()
        assert ask(server).status_code == 200
    _, episodes = recorded(tmp_path / "out")["always-low", "unjudged"]
    assert [step.text for step in episodes["s"].steps] == [text, text]


def test_two_clients_on_one_session_take_turns(serve: Serve, held: Held, tmp_path: Path) -> None:
    with serve("always-low", held) as server, ThreadPoolExecutor(2) as threads:
        first = threads.submit(ask, server, "s", "one")
        wait_until(lambda: held.requests)
        second = threads.submit(ask, server, "s", "two")
        wait_until(lambda: "mixroute_open_requests 2.0" in httpx.get(f"{server.url}/metrics").text)
        assert len(held.requests) == 1
        held.go.set()
        steps = [one.result().json()["mixroute"]["step"] for one in (first, second)]
    assert steps == [0, 1]
    _, episodes = recorded(tmp_path / "out")["always-low", "unjudged"]
    assert [step.observation for step in episodes["s"].steps] == ["one", "two"]


def test_two_agents_whose_conversations_are_equal_are_two_sessions(serve: Serve, held: Held, tmp_path: Path) -> None:
    """Both go on from one and the same history at the same time."""
    with serve("always-low", held) as server, ThreadPoolExecutor(2) as threads:

        def both(messages: list[Any]) -> None:
            held.go.clear()
            body = {"model": "always-low", "messages": messages}
            count = len(held.requests)
            asked = [threads.submit(server.post, "/v1/chat/completions", json=body) for _ in range(2)]
            wait_until(lambda: len(held.requests) == count + 2)
            held.go.set()
            assert {one.result().status_code for one in asked} == {200}

        both(HELLO)
        both([*HELLO, {"role": "assistant", "content": "1: hello"}, {"role": "user", "content": "more"}])
    _, episodes = recorded(tmp_path / "out")["always-low", "unjudged"]
    assert [len(one.steps) for one in episodes.values()] == [2, 2]
    first, second = episodes
    assert second == f"{first}~2"


def test_what_a_failed_request_has_cost_is_charged_to_the_step_that_is_asked_again(
    serve: Serve, tmp_path: Path
) -> None:
    class Choosy(ScriptedModel):
        failing = True

        async def generate(self, request: Request) -> Completion:
            if self.failing:
                raise RuntimeError("the device fell off the bus")
            return await super().generate(request)

    model = Choosy("low", echo)
    router = tmp_path / "router.py"
    router.write_text(HIGH_THEN_LOW)
    with serve(f"{router}:HighThenLow", model) as server:
        failed = ask(server, model="router.py:HighThenLow")
        assert (failed.status_code, failed.json()["error"]["type"]) == (500, "server_error")
        assert "the device fell off the bus" in failed.json()["error"]["message"]
        for name in ("lost", "judged"):
            assert ask(server, name, model="router.py:HighThenLow").status_code == 500
        assert server.judge("judged").json()["recorded"]
        model.failing = False
        assert ask(server, model="router.py:HighThenLow").status_code == 200
    _, episodes = recorded(tmp_path / "out")["router.py:HighThenLow", "unjudged"]
    (step,) = episodes["s"].steps
    assert [call.model for call in step.calls] == ["high", "high", "low"]
    assert (step.model, episodes["s"].error) == ("low", None)
    (lost,) = episodes["lost"].steps
    assert ([call.model for call in lost.calls], lost.model, episodes["lost"].end) == (["high"], "none", "error")
    assert "the device fell off the bus" in (episodes["lost"].error or "")
    _, judged = recorded(tmp_path / "out")["router.py:HighThenLow", "judged"]
    assert (judged["judged"].end, judged["judged"].success) == ("done", True)  # the client has the last word


HIGH_THEN_LOW = """
from mixroute import Completion, Step

class HighThenLow:
    granularity = "step"

    async def act(self, step: Step) -> Completion:
        await step.ask("high")
        return await step.ask("low")
"""

BROKEN = """
import asyncio
from mixroute import Completion, Step

class Liar:
    granularity = "step"

    async def act(self, step: Step) -> Completion:
        return await step.ask("middle")

class Sleeper:
    granularity = "step"

    async def act(self, step: Step) -> Completion:
        await asyncio.sleep(10**6)

class Quitter:
    granularity = "step"

    async def act(self, step: Step) -> Completion:
        raise SystemExit("enough")
"""


@pytest.mark.parametrize(("name", "message"), [("Liar", "asks for model 'middle'"), ("Quitter", "SystemExit: enough")])
def test_a_router_that_breaks_its_contract_fails_its_request_alone(
    name: str, message: str, serve: Serve, tmp_path: Path
) -> None:
    path = tmp_path / "broken.py"
    path.write_text(BROKEN)
    with serve(f"{path}:{name}") as server:
        failed = ask(server, model=f"broken.py:{name}")
        assert (failed.status_code, failed.json()["error"]["type"]) == (500, "server_error")
        assert message in failed.json()["error"]["message"]
        assert ask(server, model="low").status_code == 200
        assert httpx.get(f"{server.url}/health").status_code == 200


def test_a_router_that_hangs_ends_the_server_so_that_it_is_started_again(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text(BROKEN)
    stopped = pytest.raises(RunStopped, match="neither returned nor called a model")
    with stopped, serve(f"{path}:Sleeper", router_timeout=0.2) as server:
        assert ask(server, model="low").status_code == 200
        failed = ask(server, model="broken.py:Sleeper")
        assert "neither returned nor called a model" in failed.json()["error"]["message"]
    assert len(recorded(tmp_path / "out")["always-low", "unjudged"][1]) == 1  # what was answered is kept


def test_a_prompt_that_is_too_long_is_the_clients_error(tiny_pool: Path, tmp_path: Path) -> None:
    with served(tiny_pool, "always-low", tmp_path) as server:
        client = server.client()
        for _ in range(2):
            with pytest.raises(openai.BadRequestError) as caught:
                client.completions.create(model="low", prompt="x" * 5000)
            assert caught.value.code == "context_length_exceeded"
        assert client.completions.create(model="low", prompt="x").choices
        with pytest.raises(openai.BadRequestError):
            client.completions.create(model="low", prompt="x", max_tokens=5000)
        reply = client.completions.create(model="low", prompt="x")
        assert reply.model_extra is not None
        assert reply.model_extra["mixroute"]["session"].endswith("~2")  # those that were refused took no name
    _, episodes = recorded(tmp_path)["always-low", "unjudged"]
    assert [len(one.steps) for one in episodes.values()] == [1, 1]


def test_too_many_requests_are_told_when_to_come_again(serve: Serve, held: Held) -> None:
    with serve("always-low", held, running=1, waiting=1) as server, ThreadPoolExecutor(2) as threads:
        both = [threads.submit(ask, server, name) for name in ("a", "b")]
        wait_until(lambda: "mixroute_open_requests 2.0" in httpx.get(f"{server.url}/metrics").text)
        with pytest.raises(openai.RateLimitError) as caught:
            server.client().chat.completions.create(model="always-low", messages=HELLO)
        assert caught.value.response.headers["retry-after"] == "1"
        held.go.set()
        assert [one.result().status_code for one in both] == [200, 200]
        assert ask(server, "c").status_code == 200


def test_a_record_that_cannot_be_written_is_told_and_written_later(serve: Serve, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serve("always-low") as server:
        assert ask(server).status_code == 200
        out.chmod(0o500)
        blocked = out / next(iter(server.service.offers.values())).metas["judged"].id
        if os.geteuid() == 0:  # root may write anywhere, but not a folder where a file is
            blocked.write_text("in the way")
        assert server.judge("s").json() == {"session": "s", "recorded": False}
        health = httpx.get(f"{server.url}/health")
        assert (health.status_code, health.json()["status"]) == (503, "failing")
        out.chmod(0o700)
        blocked.unlink(missing_ok=True)
        assert ask(server, "t").status_code == 200
        assert server.judge("t").json() == {"session": "t", "recorded": True}
        assert httpx.get(f"{server.url}/health").json() == {"status": "ok", "trouble": ""}
    assert set(recorded(out)["always-low", "judged"][1]) == {"s", "t"}


def test_shutdown_waits_for_requests_in_progress(serve: Serve, held: Held, tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as threads:
        with serve("always-low", held) as server:
            answer = threads.submit(ask, server)
            wait_until(lambda: held.requests)
            threading.Timer(0.3, held.go.set).start()
        assert answer.result().status_code == 200
    assert len(recorded(tmp_path / "out")["always-low", "unjudged"][1]["s"].steps) == 1
