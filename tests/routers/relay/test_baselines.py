"""Token routers without training: exactly, on models that say what the test wants, and by the command on real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness.board.table import build_board
from harness.numbers import round_significant
from harness.traces.store import find_runs, read_episodes, read_meta
from harness.verify.entry import verify_entry
from harness.verify.pools import read_pools
from mixroute import MixrouteError, open_router
from routers.relay.baselines import LowByLine, StepEntropy, TokenEntropy, TokenRandom
from tests.command import mixroute
from tests.routers.relay.speaker import Speaker, answered

LOW, HIGH = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def by_place(low: str, high: str, entropy: Callable[[int], float] = lambda place: 0.0) -> dict[str, Speaker]:
    """Two models of one text each, which go on from wherever they are; low's entropy depends on the place."""
    return {
        "low": Speaker("low", lambda text: low[len(text) :], lambda text: entropy(len(text))),
        "high": Speaker("high", lambda text: high[len(text) :]),
    }


@given(st.sets(st.integers(0, 25)), st.integers(1, 4), st.integers(1, 30), st.integers(1, 30))
def test_high_writes_where_low_is_uncertain_whatever_the_chunk(
    doubts: set[int], span: int, chunk: int, max_tokens: int
) -> None:
    pool = by_place(LOW, HIGH, lambda place: float(place in doubts))
    router = TokenEntropy(threshold=0.5, span=span, chunk=chunk)
    (step,) = answered(router, pool, max_tokens).steps
    expected, place = "", 0
    while place < min(26, max_tokens):
        count = span if place in doubts else 1
        expected += (HIGH if place in doubts else LOW)[place : place + count]
        place += count
    assert step.text == expected[:max_tokens]
    assert step.scores["taken"] == len(pool["high"].requests)
    # Of the small model's calls only those that the answer is made of count towards its length.
    assert sum(step.calls[part].decoded_tokens for part in step.parts) <= max_tokens


LINES = st.lists(st.text("xy", min_size=1, max_size=4), min_size=1, max_size=4)


@given(LINES, st.sets(st.integers(0, 3)))
def test_high_writes_the_lines_whose_first_token_low_is_uncertain_of(lines: list[str], doubts: set[int]) -> None:
    text = "\n".join(lines)
    starts = [sum(len(line) + 1 for line in lines[:number]) for number in range(len(lines))]
    pool = by_place(text, text.upper(), lambda place: float(place in starts and starts.index(place) in doubts))
    (step,) = answered(StepEntropy(threshold=0.5), pool).steps
    expected = [line.upper() if number in doubts else line for number, line in enumerate(lines)]
    assert step.text == "\n".join(expected)
    seen = [step.scores[f"line{number}"] for number in range(len(lines))]
    assert seen == [float(number in doubts) for number in range(len(lines))]


@pytest.mark.parametrize(("p", "span"), [(0.1, 1), (0.5, 1), (0.3, 4), (0.0, 2)])
def test_random_calls_meet_their_share_and_repeat_themselves(p: float, span: int) -> None:
    pool = by_place("a" * 4000, "A" * 4000)
    (step,) = answered(TokenRandom(p, span), pool, 3000).steps
    assert step.text.count("A") / 3000 == pytest.approx(p, abs=0.04)
    assert (step.high_share, len(step.text)) == (step.text.count("A") / 3000, 3000)
    assert answered(TokenRandom(p, span), pool, 3000).steps == [step]
    if p == 0:
        assert len(step.calls) == 1


ENTROPIES = st.floats(0, 5).map(round_significant)


@given(st.lists(ENTROPIES, min_size=2, max_size=40), st.floats(0.05, 0.95), st.integers(1, 5))
def test_no_more_tokens_than_wanted_exceed_the_chosen_threshold(
    entropies: list[float], share: float, span: int
) -> None:
    pool = by_place("a" * len(entropies), "", lambda place: entropies[place])
    episode = answered(open_router("always", model="low"), pool, len(entropies))
    threshold = TokenEntropy(target_share=share, span=span).fit([episode])["threshold"]
    above = sum(value > threshold for value in entropies)
    wanted = share / (share + span * (1 - share)) * len(entropies)
    assert above <= wanted + 1e-9
    assert sum(value >= threshold for value in entropies) > wanted - 1e-6


def test_the_threshold_of_lines_is_chosen_on_low_line_by_line() -> None:
    pool = by_place("a\nb\nc\nd", "", lambda place: place / 10)
    episode = answered(LowByLine(), pool)
    assert episode.steps[0].text == "a\nb\nc\nd"
    assert StepEntropy(target_share=0.5).fit([episode]) == {"threshold": 0.2}
    assert StepEntropy(threshold=1.0).fit([episode]) == {}


@pytest.mark.parametrize("name", ["token-entropy", "step-entropy"])
def test_a_missing_threshold_is_named(name: str) -> None:
    router: Any = open_router(name)
    with pytest.raises(MixrouteError, match="give the suite's task a calibration"):
        router.fit([])


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("token-random", {"p": 1.0}, "p must lie in"),
        ("token-random", {"span": 0}, "span and chunk must be 1 or more"),
        ("token-entropy", {"chunk": 0}, "span and chunk must be 1 or more"),
        ("step-entropy", {"target_share": 0.0}, "target_share must lie between"),
    ],
)
def test_senseless_arguments_are_refused(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(MixrouteError, match=message):
        open_router(name, **arguments)


def test_they_play_are_verified_and_stand_on_the_board(tmp_path: Path, tiny_pool: Path) -> None:
    task = {"task": "arith-gen", "split": "test", "limit": 4, "args": {"max_tokens": 40}}
    games = {"task": "alfworld-gen", "split": "test", "limit": 4, "args": {"step_cap": 4}}
    suite = {
        "schema": 1,
        "name": "tokens",
        "pool": str(tiny_pool),
        "tasks": [{**one, "calibration": {"split": "dev", "limit": 4}} for one in (task, games)],
        "routers": [
            "always-high",
            "always-low",
            {"router": "token-random", "args": {"p": 0.3}},
            {"router": "token-entropy", "args": {"target_share": 0.3}},
            {"router": "step-entropy", "args": {"target_share": 0.5}},
        ],
    }
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(suite))
    mixroute("run", "suite.yaml", cwd=tmp_path)
    runs = find_runs(tmp_path / "runs/tokens")
    for run in runs:
        verdict = verify_entry(run, pools=read_pools([tiny_pool]))
        assert verdict.status == "ok", [r for r in verdict.results if r.status != "ok"]
        assert not any(episode.error for episode in read_episodes(run))
    rows = {row.router: row for row in build_board(runs).rows if row.task == "arith-gen"}
    assert 0 < (rows["token-random"].high_share or 0) < 0.7
    assert 0 < (rows["token-entropy"].high_share or 0) < 0.9
    assert {one.kind for one in rows["token-entropy"].against} >= {"always-high", "best baseline"}
    entropy = [read_meta(run) for run in runs if read_meta(run).router == "token-entropy"]
    assert len(entropy) == 2 and all(meta.fitted["threshold"] > 0 for meta in entropy)
