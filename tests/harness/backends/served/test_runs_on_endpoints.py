"""Whole runs on odd endpoints: what is written can be read again, and what is not known is not counted as 0."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.board import write_board
from harness.board.switches import count_switches
from harness.engine.runner import FinishedRun, SuiteRunner
from harness.pool import save_pool
from harness.suite import Suite
from harness.traces.pack import pack_run
from mixroute import MixrouteError, ModelSpec
from tests.harness.backends.served.serving import serving
from tests.harness.playing import message

Answer = Callable[[int], Any]


def answer(text: str, logprob: float = -0.1, **changes: Any) -> dict[str, Any]:
    logprobs = {
        "tokens": [text],
        "token_logprobs": [logprob],
        "top_logprobs": [{text: logprob, "x": -3.0}],
    }
    usage = {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22}
    choice = {"index": 0, "text": text, "finish_reason": "stop", "logprobs": logprobs}
    return {"id": "1", "object": "text_completion", "choices": [choice], "usage": usage, **changes}


def play(folder: Path, reply: Answer, routers: list[Any], **options: Any) -> list[FinishedRun]:
    with serving(lambda number: (200, reply(number))) as (_, url):
        given = {"base_url": url, "parameters": 1000, "weight_bytes": 2000, "retries": 0, **options}
        spec = ModelSpec(backend="openai", weights="m", options=given)
        pool = save_pool(folder / "pool.yaml", "p", "", {"high": spec, "low": spec})
        suite = Suite.model_validate({
            "schema": 1, "name": "s", "pool": str(pool), "mode": "throughput", "concurrency": 1, "routers": routers,
            "tasks": [{"task": "arith-gen", "split": "dev", "limit": 3}],
        })  # fmt: skip
        return SuiteRunner(suite, folder / "runs", Console(quiet=True)).run()


def row_of(folder: Path, out: Path) -> dict[str, Any]:
    write_board([folder], out)
    row: dict[str, Any] = json.loads((out / "board.json").read_text())["rows"][0]
    return row


@pytest.mark.parametrize("usage", [None, {"prompt_tokens": 20, "completion_tokens": None, "total_tokens": None}])
def test_unknown_usage_is_unknown_cost(tmp_path: Path, usage: Any) -> None:
    (run,) = play(
        tmp_path, lambda number: answer(" #### 7", usage=usage) if number == 1 else answer("x"), ["always-high"]
    )
    assert [call.usage_known for episode in run.episodes() for call in episode.steps[0].calls].count(False) == 1
    row = row_of(run.folder, tmp_path / "board")
    assert (row["errors"], row["episodes"]) == (0, 3)
    assert set(row["cost_absolute"].values()) == {None}
    assert row["tokens"]["high"] == {}
    assert (row["ranked"], row["pareto"]) == (False, False)
    assert any("unknown usage: in 1 of 3 episodes" in note for note in row["notes"])
    for name in ("board.md", "board.csv", "board.tex"):
        assert "nan" not in (tmp_path / "board" / name).read_text().lower().replace("finance", "")
    # A packed entry says the same.
    packed = row_of(pack_run(run.folder, tmp_path / "entries"), tmp_path / "packed")
    assert [note for note in packed["notes"] if "unknown usage" in note]
    with pytest.raises(MixrouteError, match="did not tell its tokens"):
        count_switches([run.folder])


def test_known_usage_is_written_as_before(tmp_path: Path) -> None:
    (run,) = play(tmp_path, lambda _: answer(" #### 7"), ["always-high"])
    assert "usage_known" not in (run.folder / "episodes.jsonl").read_text()
    row = row_of(run.folder, tmp_path / "board")
    assert row["cost_absolute"]["weight_bytes"] == 2000 * (2 + 1)
    assert row["tokens"]["high"] == {"input": 20.0, "cached": 0.0, "output": 2.0}


@pytest.mark.parametrize(
    ("odd", "errors"),
    [
        (answer(" \ud83d 7"), 0),
        (answer(" go", -math.inf), 0),
        (answer(" go", math.nan), 1),
        (answer(" go", usage={"prompt_tokens": 1.5, "completion_tokens": 1}), 1),
        (answer(" go", usage={"prompt_tokens": 20, "completion_tokens": 10**9}), 1),
        ({"choices": []}, 1),
        (b'{"choices": [{"te', 1),
        (b"<html></html>", 1),
    ],
)
def test_an_odd_answer_costs_its_episode_at_most(tmp_path: Path, odd: Any, errors: int) -> None:
    replies = lambda number: odd if number == 1 else answer(" #### 7")  # noqa: E731
    (run,) = play(tmp_path, replies, ["always-high"])
    row = row_of(run.folder, tmp_path / "board")
    assert (row["episodes"], row["errors"]) == (3, errors)
    (again,) = play(tmp_path, lambda _: answer(" #### 7"), ["always-high"])  # another port, and so another run
    assert len(list(again.episodes())) == 3


def test_statistics_that_are_not_known_end_only_routers_that_ask_for_them(tmp_path: Path) -> None:
    other = {
        "tokens": ["other", " text"],
        "token_logprobs": [-0.1, -0.2],
        "top_logprobs": [{"other": -0.1}, {"b": -1.0}],
    }
    reply = answer(" #### 7")
    reply["choices"][0]["logprobs"] = other
    asks = {"router": "uncertainty", "args": {"threshold": 0.5}}
    blind, asking = play(tmp_path, lambda _: reply, ["always-high", asks])
    for episode in blind.episodes():
        (call,) = episode.steps[0].calls
        assert (episode.error, call.decoded_tokens, call.entropies, call.mean_entropy) == (None, 2, [], None)
    assert {message(episode) for episode in asking.episodes()} == {
        "ValueError: statistics of the tokens of model 'low' are not known (docs/backends.md)"
    }
    assert row_of(blind.folder, tmp_path / "board")["cost_absolute"]["weight_bytes"] == 2000 * (2 + 1)


def test_secrets_are_not_in_the_folder(tmp_path: Path) -> None:
    (run,) = play(tmp_path, lambda _: answer(" #### 7"), ["always-high"], extra_body={"key": "the-secret", "top_k": 3})
    for file in run.folder.rglob("*"):
        assert b"the-secret" not in file.read_bytes()
    assert json.loads((run.folder / "run.json").read_text())["models"]["high"]["details"]["extra_body"] == {
        "key": "***",
        "top_k": 3,
    }
