"""A server in front of two endpoints of others."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from harness.pool import save_pool
from mixroute import MixrouteError, ModelSpec
from tests.harness.backends.served.serving import PLAIN, Reply
from tests.harness.backends.served.serving import serving as endpoint
from tests.harness.serving.serving import recorded, served


def at(url: str) -> ModelSpec:
    given = {"base_url": url, "parameters": 1000, "weight_bytes": 2000, "retries": 0, "api_key_env": "UPSTREAM_KEY"}
    return ModelSpec(backend="openai", weights="m", options=given)


def test_it_routes_between_two_providers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPSTREAM_KEY", "upstream-secret")

    def low_answers(number: int) -> Reply:
        failure = {"error": {"message": "upstream-secret is tired", "type": "server_error"}}
        return (503, failure) if number == 0 else (200, {**PLAIN, "usage": None})

    with endpoint(lambda number: (200, PLAIN)) as (high, high_url), endpoint(low_answers) as (low, low_url):
        pool = save_pool(tmp_path / "pool.yaml", "providers", "", {"high": at(high_url), "low": at(low_url)})
        with pytest.raises(MixrouteError, match="throughput"), served(pool, "every-k,k=2", tmp_path / "out"):
            raise AssertionError
        with served(pool, "every-k,k=2", tmp_path / "out", mode="throughput") as server:
            ask = server.client().completions.create
            text, session = "You are in a room.\n>", {"x-session-id": "s"}
            first = ask(model="every-k", prompt=text, stop="\n", max_tokens=8, extra_headers=session)
            text += first.choices[0].text + "\nYou are in a hall.\n>"
            with pytest.raises(openai.InternalServerError) as failed:
                ask(model="every-k", prompt=text, stop="\n", max_tokens=8, extra_headers=session)
            second = ask(model="every-k", prompt=text, stop="\n", max_tokens=8, extra_headers=session)
    assert "is tired" in str(failed.value)
    assert "upstream-secret" not in str(failed.value)
    assert (high.keys, low.keys) == (["Bearer upstream-secret"], ["Bearer upstream-secret"] * 2)
    assert first.usage is not None
    assert first.usage.prompt_tokens_details is not None
    assert (first.usage.prompt_tokens, first.usage.prompt_tokens_details.cached_tokens) == (40, 32)
    assert second.usage is None  # it does not tell
    assert [high.asked[0]["prompt"], *(one["prompt"] for one in low.asked)] == ["You are in a room.\n>", text, text]
    _, episodes = recorded(tmp_path / "out")["every-k", "unjudged"]
    assert [(step.model, len(step.calls)) for step in episodes["s"].steps] == [("high", 1), ("low", 1)]
