"""``mixroute serve`` as a process: what it records can be shown, counted and put on a board, also after a kill."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from openai import AuthenticationError, OpenAI

from tests.command import PATIENCE, mixroute, start
from tests.harness.serving.serving import recorded


@contextmanager
def command(cwd: Path, *options: str | Path, key: str = "") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The running command and its address; it is killed when the block ends, unless it has ended."""
    process = start("serve", "--port", "0", *options, cwd=cwd, env={"MIXROUTE_API_KEY": key})
    assert process.stderr is not None
    shown = []
    try:
        for line in process.stderr:
            shown.append(line)
            if found := re.search(r"serving .* at (http://\S+)/v1", line):
                yield process, found[1]
                return
        raise AssertionError(f"it does not serve: {''.join(shown)}")
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=PATIENCE)


def end(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> str:
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    return err


def talk(client: OpenAI, model: str, session: str, count: int) -> list[str]:
    """Say something, and again in the same conversation; returns the replies."""
    messages, replies = [{"role": "user", "content": f"This is {session}."}], []
    for _ in range(count):
        reply = client.chat.completions.create(
            model=model,
            messages=messages,  # type: ignore[arg-type] # plain dictionaries
            max_tokens=4,
            extra_headers={"x-session-id": session},
        )
        replies.append(reply.choices[0].message.content or "")
        messages += [{"role": "assistant", "content": replies[-1]}, {"role": "user", "content": "And then?"}]
    return replies


def judge(url: str, session: str, score: float, model: str) -> None:
    body = {"score": score, "model": model}
    answer = httpx.post(f"{url}/v1/sessions/{session}/outcome", json=body, timeout=PATIENCE)
    assert answer.json() == {"session": session, "recorded": True}


def test_from_endpoint_to_board_over_a_kill(tiny_pool: Path, tmp_path: Path) -> None:
    options = ("--pool", tiny_pool, "--router", "every-k,k=2", "--out", "served", "--name", "talk")
    with command(tmp_path, *options) as (process, url):
        client = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        for name in ("talk/1", "talk/2"):
            for model in ("every-k", "high"):
                talk(client, model, name, 3)
                judge(url, name, float(name == "talk/1"), model)
        talk(client, "every-k", "open", 2)
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)
    with command(tmp_path, *options) as (process, url):  # the same run goes on
        client = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        talk(client, "every-k", "open", 1)
        end(process)

    meta, episodes = recorded(tmp_path / "served")["every-k", "judged"]
    assert (meta.task, meta.instances) == ("talk", ["talk/1", "talk/2"])
    assert [(one.score, one.success, one.end) for one in episodes.values()] == [
        (1.0, True, "done"),
        (0.0, False, "done"),
    ]
    _, unjudged = recorded(tmp_path / "served")["every-k", "unjudged"]
    assert {name: len(one.steps) for name, one in unjudged.items()} == {"open": 2, "open~2": 1}
    assert not list((tmp_path / "served").glob("*.jsonl"))  # nothing is open any more

    board = mixroute("board", "served", "--out", "board", cwd=tmp_path)
    rows = json.loads((tmp_path / "board/board.json").read_text())["rows"]
    found = {(row["split"], row["router"]): row for row in rows}
    routed, high = found["judged", "every-k"], found["judged", "always-high"]
    assert (routed["success"]["mean"], routed["high_share"], high["high_share"]) == (0.5, 2 / 3, 1.0)
    assert 0 < routed["cost"]["flops"] < 2  # relative to high on the same sessions
    assert high["cost"]["weight_bytes"] == 1.0
    assert not found["unjudged", "every-k"]["ranked"]
    assert any("outcomes are not known" in note for note in found["unjudged", "every-k"]["notes"])
    assert "every-k" in board.stdout
    assert "every-k" in mixroute("switches", "served", cwd=tmp_path).stdout
    shown = mixroute("show", "open~2", "--runs", "served", cwd=tmp_path).stdout
    assert "outcome not known" in shown
    assert "This is open." in shown


def test_a_key_is_demanded_where_others_can_reach_the_server(tiny_pool: Path, tmp_path: Path) -> None:
    options = ("--pool", tiny_pool, "--router", "always-low", "--no-record")
    refused = mixroute("serve", *options, "--host", "0.0.0.0", cwd=tmp_path, code=2)  # noqa: S104
    assert "set a key in $MIXROUTE_API_KEY" in refused.stderr
    with command(tmp_path, *options, "--host", "0.0.0.0", key="secret") as (process, url):  # noqa: S104
        url = url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        assert [one.id for one in OpenAI(base_url=f"{url}/v1", api_key="secret").models.list()] == [
            "always-low",
            "high",
            "low",
        ]
        for wrong in ("Secret", "secret2", "sécret"):
            answer = httpx.get(f"{url}/v1/models", headers={b"Authorization": f"Bearer {wrong}".encode()})
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        with pytest.raises(AuthenticationError):
            OpenAI(base_url=f"{url}/v1", api_key="other", max_retries=0).models.list()
        assert httpx.get(f"{url}/metrics").status_code == 401
        assert httpx.get(f"{url}/health").json() == {"status": "ok", "trouble": ""}
        end(process, signal.SIGINT)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--router", "every-j"), "every-k"),
        (("--router", "every-k,j=2"), "takes no argument 'j'"),
        (("--router", "uncertainty,target_share=0.3"), "threshold"),
        (("--router", "always-low", "--mode", "fast"), "--mode 'fast'"),
        (("--router", "always-low", "--name", "My Agent"), "--name 'My Agent'"),
    ],
)
def test_wrong_settings_are_told_before_a_model_is_loaded(
    options: tuple[str, ...], message: str, tiny_pool: Path, tmp_path: Path
) -> None:
    shown = mixroute("serve", "--pool", tiny_pool, "--port", "0", *options, cwd=tmp_path, code=2).stderr
    assert message in shown
    assert "Traceback" not in shown
    assert not list(tmp_path.iterdir())
