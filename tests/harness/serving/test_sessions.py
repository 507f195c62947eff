"""When sessions begin and end, how their records are named, and what outlives a kill."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.serving import recording, sessions
from harness.traces.store import find_runs, read_timings
from mixroute import MixrouteError
from tests.harness.serving.conftest import Serve
from tests.harness.serving.models import Held, wait_until
from tests.harness.serving.serving import Served, recorded


def ask(server: Served, session: str, text: str = "hello", model: str = "always-low") -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    answer = server.post("/v1/chat/completions", json=body, headers={"x-session-id": session})
    assert answer.headers["x-session-id"] == session
    found: dict[str, Any] = answer.json()
    return found


def unjudged(folder: Path, router: str = "always-low") -> dict[str, int]:
    """Steps of the sessions without an outcome."""
    found = recorded(folder).get((router, "unjudged")) if list(folder.glob("*/run.json")) else None
    return {} if found is None else {name: len(one.steps) for name, one in found[1].items()}


def test_an_outcome_ends_its_session_and_is_its_score(serve: Serve, tmp_path: Path) -> None:
    with serve("always-low") as server:
        for name, body in (("a", {"score": 0.25}), ("b", {"score": 0.25, "success": True}), ("c/d", {"score": 3})):
            ask(server, name)
            ask(server, name)
            assert server.post(f"/v1/sessions/{name}/outcome", json=body).json() == {"session": name, "recorded": True}
        assert set(recorded(tmp_path / "out")["always-low", "judged"][1]) == {"a", "b", "c/d"}  # before the server ends
        gone = server.judge("a")
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "session_not_found")
        assert server.judge("b", float("1e12")).status_code == 400
        assert ask(server, "a")["mixroute"]["step"] == 0  # a session of its own
        server.judge("a")
    _, episodes = recorded(tmp_path / "out")["always-low", "judged"]
    assert {name: (one.score, one.success) for name, one in episodes.items()} == {
        "a": (0.25, False), "a~2": (1.0, True), "b": (0.25, True), "c/d": (3.0, True),
    }  # fmt: skip
    assert [step.reward for step in episodes["a"].steps] == [0.0, 0.25]
    (folder,) = find_runs(tmp_path / "out")
    assert [len(one.steps) for one in read_timings(folder)] == [2, 1, 2, 2]


def test_one_name_for_two_models_is_two_sessions(serve: Serve, tmp_path: Path) -> None:
    with serve("always-low") as server:
        ask(server, "a")
        ask(server, "a", model="high")
        both = server.judge("a")
        assert (both.status_code, both.json()["error"]["param"]) == (400, "model")
        assert server.judge("a", model="high").json()["recorded"]
        assert server.judge("a", 0.0).json()["recorded"]
    found = recorded(tmp_path / "out")
    assert {key: one[1]["a"].score for key, one in found.items()} == {
        ("always-high", "judged"): 1.0,
        ("always-low", "judged"): 0.0,
    }


def test_sessions_without_a_name_are_called_alike_whatever_model_they_ask(serve: Serve, tmp_path: Path) -> None:
    """So that the board can compare a router with high on the same questions."""
    with serve("every-k,k=2") as server:
        for model in ("every-k", "high"):
            for text in ("one", "two", "one"):
                body = {"model": model, "messages": [{"role": "user", "content": text}]}
                assert server.post("/v1/chat/completions", json=body).status_code == 200
    found = recorded(tmp_path / "out")
    routed, high = found["every-k", "unjudged"][1], found["always-high", "unjudged"][1]
    assert set(routed) == set(high)
    assert sorted(one.steps[0].observation for one in routed.values()) == ["one", "one", "two"]
    assert [name for name in routed if name.endswith("~2")] == [name for name in high if name.endswith("~2")] != []


def test_sessions_leave_by_age_and_their_caches_are_freed(serve: Serve, held: Held, tmp_path: Path) -> None:
    held.go.set()
    with serve("always-low", held, session_age=0.05) as server:
        ask(server, "a")
        wait_until(lambda: held.released)
        wait_until(lambda: unjudged(tmp_path / "out"))
        assert held.released == [held.requests[0].session]
        assert unjudged(tmp_path / "out") == {"a": 1}


def test_the_oldest_session_makes_room_and_one_in_use_does_not(serve: Serve, held: Held, tmp_path: Path) -> None:
    with serve("always-low", held, sessions=2) as server, ThreadPoolExecutor(2) as threads:
        held.go.set()
        ask(server, "old")
        ask(server, "older")
        ask(server, "old")  # used last
        held.go.clear()
        new = threads.submit(ask, server, "new")
        wait_until(lambda: len(held.requests) == 4)
        again = threads.submit(ask, server, "old")
        wait_until(lambda: len(held.requests) == 5)
        body = {"model": "always-low", "messages": [{"role": "user", "content": "x"}]}
        full = server.post("/v1/chat/completions", json=body)
        assert (full.status_code, full.headers["retry-after"]) == (429, "1")
        held.go.set()
        assert [one.result()["mixroute"]["step"] for one in (new, again)] == [0, 2]
        assert unjudged(tmp_path / "out") == {"older": 1}
    assert unjudged(tmp_path / "out") == {"old": 3, "older": 1, "new": 1}


def test_a_session_that_grows_large_goes_on_in_another_episode(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_LARGEST", 1000)
    with serve("always-low") as server:
        for _ in range(5):
            ask(server, "long")
    found = unjudged(tmp_path / "out")
    assert len(found) > 1
    assert sum(found.values()) == 5
    assert set(found) == {"long", *(f"long~{number}" for number in range(2, len(found) + 1))}


def test_steps_of_open_sessions_outlive_a_kill(serve: Serve, tmp_path: Path) -> None:
    out, killed = tmp_path / "out", tmp_path / "killed"
    with serve("always-low") as server:
        ask(server, "closed")
        server.judge("closed")
        ask(server, "open")
        ask(server, "open", "and?")
        shutil.copytree(out, killed)  # what a kill would leave
    (journal,) = killed.glob("*always-low*.open.jsonl")
    journal.write_bytes(journal.read_bytes() + b'{"instance": "torn", "st')
    shutil.rmtree(out)
    killed.rename(out)
    with serve("always-low") as server:
        assert unjudged(out) == {"open": 2}
        ask(server, "open")
    assert unjudged(out) == {"open": 2, "open~2": 1}
    assert set(recorded(out)["always-low", "judged"][1]) == {"closed"}
    _, episodes = recorded(out)["always-low", "unjudged"]
    assert [step.observation for step in episodes["open"].steps] == ["hello", "and?"]
    assert not list(out.glob("*.open.jsonl"))


def test_the_journal_is_cut_to_the_open_sessions(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_MOST_DEAD", 1000)
    out, sizes = tmp_path / "out", []
    with serve("always-low") as server:
        ask(server, "open")
        (journal,) = out.glob("*always-low*.open.jsonl")
        for number in range(12):
            ask(server, f"{number}")
            server.judge(f"{number}")
            sizes.append(journal.stat().st_size)
        lines = journal.read_text().splitlines()
    assert max(sizes) < 8 * sizes[0]
    assert '"instance":"open"' in lines[0]
    assert len(recorded(out)["always-low", "judged"][1]) == 12
    assert unjudged(out) == {"open": 1}


def test_without_a_record_nothing_is_written(serve: Serve, tmp_path: Path) -> None:
    with serve("always-low", out=None) as server:
        ask(server, "a")
        assert server.judge("a").json() == {"session": "a", "recorded": False}
        assert httpx.get(f"{server.url}/health").json()["status"] == "ok"
    assert [path.name for path in tmp_path.iterdir()] == ["pool.yaml"]


def test_two_servers_do_not_write_into_one_folder(serve: Serve) -> None:
    refused = pytest.raises(MixrouteError, match="in use by another mixroute process")
    with serve("always-low"), refused, serve("always-low"):
        raise AssertionError
