"""Backend openai: credentials and texts of ``extra_body`` are in no message, card or identity; our own words stay."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from harness.errors import RunStopped
from mixroute import EpisodeError, MixrouteError
from tests.harness.backends.served.serving import PLAIN, opened, plain, serving

UNLIKELY = {
    "choices": [
        {
            **PLAIN["choices"][0],
            "logprobs": {**PLAIN["choices"][0]["logprobs"], "token_logprobs": [-0.1, None, 0.0, -0.5]},
        }
    ]
}


def test_secrets_are_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "sk-environment")
    secrets = ("sk-environment", "pass%20word", "pass word", "query-key", "body-key", "nested-key")
    refusal = {"error": {"message": f"Wrong: {' '.join(secrets)}"}}
    options = {"api_key_env": "A_KEY", "extra_body": {"key": "body-key", "user": {"id": ["nested-key"], "n": 3}}}
    with serving(lambda _: (400, refusal)) as (endpoint, url):
        address = url.replace("http://", "http://me:pass%20word@") + "?key=query-key"
        backend = opened(address, **options)
        with pytest.raises(EpisodeError) as failure:
            asyncio.run(backend.generate(plain()))
    shown = f"{failure.value} {backend.card()}"
    assert not [secret for secret in secrets if secret in shown]
    assert backend.card().details["extra_body"] == {"key": "***", "user": {"id": ["***"], "n": 3}}
    assert endpoint.paths == ["/v1/completions?key=query-key"]
    assert endpoint.asked[0]["key"] == "body-key"
    with pytest.raises(MixrouteError) as refused:
        opened("ftp://me:pass%20word@host/v1")
    assert "pass" not in str(refused.value)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (UNLIKELY, "token 2 of its text has no log-probability"),
        ({"text token": 1}, "it is JSON without 'choices': '*** ***'"),
        (b"some text", "it is no JSON object: 'some ***'"),
    ],
)
def test_our_own_words_are_no_secrets(reply: Any, said: str) -> None:
    options = {"extra_body": {"response_format": {"type": "text"}, "mode": "choices", "tool": "token"}}
    with serving(lambda _: (200, reply)) as (_, url), pytest.raises((EpisodeError, RunStopped)) as failure:
        asyncio.run(opened(url, **options).generate(plain()))
    assert said in str(failure.value)


def test_a_key_in_the_address_is_no_part_of_the_identity() -> None:
    plainly, keyed = (opened(f"http://{user}host/v1").card() for user in ("", "me:word@"))
    assert plainly.fingerprint == keyed.fingerprint
    assert plainly.details["base_url"] == "http://host/v1"


def test_the_fingerprint_of_published_runs_stays() -> None:
    card = opened("http://host/v1", extra_body={"top_k": 1, "mode": "x"}).card()
    assert card.fingerprint == "3e129e2a11e8b8bbaf6d37f7ed836ecfb1445fa887408f8dd1a1b4375edcb3c5"
