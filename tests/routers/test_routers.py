"""Each router through its public face: what it chooses in which step."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.records import CallRecord, Episode, StepRecord
from mixroute import Completion, MixrouteError, Observation, Router, Step, Token, Turn, open_router

NOTHING = "Nothing happens."


def step(
    index: int = 0,
    shows: str = "a room",
    turns: Sequence[tuple[str, str]] = (),
    seed: object = 0,
    lists: tuple[str, ...] = (),
) -> Step:
    """A step after ``turns`` of (what was shown, what was done); ``ask`` names the model in its answer."""

    async def ask(model: str) -> Completion:
        tokens = tuple(Token(0, -doubt, doubt, 1 - doubt) for doubt in (0.2, 0.6, 0.9))
        return Completion(model, "go", tokens, 2, "stop", 5, 0)

    def log(**scores: float) -> None:
        assert scores

    past = tuple(Turn(Observation(shown), done, done) for shown, done in turns)
    rng = random.Random(str(seed))
    known = {"index": index, "turns": past, "observation": Observation(shows, lists), "rng": rng}
    return cast("Step", SimpleNamespace(**known, ask=ask, log=log, parse_action=str.strip))


def choice(router: Router, at: Step) -> str:
    return asyncio.run(router.act(at)).model


def choices(router: Router, count: int) -> str:
    return "".join(choice(router, step(index, seed=index))[0] for index in range(count))


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("always-high", {}, "hhhhhh"),
        ("always-low", {}, "llllll"),
        ("first-k", {"k": 2}, "hhllll"),
        ("every-k", {"k": 3}, "hllhll"),
        ("random", {"p": 0.0}, "llllll"),
        ("random", {"p": 1.0}, "hhhhhh"),
    ],
)
def test_schedules(name: str, arguments: dict[str, Any], expected: str) -> None:
    assert choices(open_router(name, **arguments), 6) == expected


def test_random_meets_its_probability_and_repeats_itself() -> None:
    router = open_router("random", p=0.3)
    drawn = choices(router, 2000)
    assert 0.26 < drawn.count("h") / 2000 < 0.34
    assert drawn == choices(router, 2000)


@pytest.mark.parametrize(
    ("shows", "turns", "expected"),
    [
        ("a room", [], "low"),
        (NOTHING, [("a room", "fly")], "high"),
        ("a desk", [("a room", "go to desk 1")], "low"),
        ("a desk", [("a desk", "look"), ("a room", "go to desk 1")], "high"),
    ],
)
def test_stuck_is_high_after_failure_and_repetition(shows: str, turns: list[tuple[str, str]], expected: str) -> None:
    assert choice(open_router("stuck"), step(len(turns), shows, turns)) == expected


@pytest.mark.parametrize(
    ("shows", "actions", "holds"),
    [
        ("a room", [], False),
        ("You pick up", ["take mug 1 from desk 1"], True),
        ("a desk", ["take mug 1 from desk 1", "go to desk 2"], True),
        ("You move", ["take mug 1 from desk 1", "move mug 1 to desk 1"], False),
        ("You put", ["take mug 1 from desk 1", "put mug 1 in/on desk 1"], False),
        (NOTHING, ["take mug 1 from desk 1", "move mug 1 to safe 1"], True),
        (NOTHING, ["take mug 1 from desk 1"], False),
    ],
)
def test_phase_follows_what_is_held(shows: str, actions: list[str], holds: bool) -> None:
    turns = [("before", action) for action in actions]
    at = step(len(turns), shows, turns)
    assert choice(open_router("phase", high="deliver"), at) == ("high" if holds else "low")
    assert choice(open_router("phase", high="search"), at) == ("low" if holds else "high")


def development(doubts: Sequence[float]) -> list[Episode]:
    """An always-low episode whose steps have these mean entropies; a last, stop token must not count."""
    steps = []
    for doubt in doubts:
        call = CallRecord("low", 9, 0, 2, 1, "stop", False, "go", [-doubt, 0], [doubt, 99.0], [1 - doubt, 0])
        steps.append(StepRecord("o", [], [call], "go", "go", None, 0.0, "low"))
    return [Episode(1, "h", "i", "", 0, 0.0, False, "step_cap", None, steps, "")]


@given(
    doubts=st.lists(st.floats(0, 5), min_size=1, max_size=200),
    share=st.floats(0.01, 0.99),
    signal=st.sampled_from(["mean-entropy", "first-token-entropy", "perplexity", "top2-margin"]),
)
def test_no_more_than_the_target_share_of_development_steps_exceed_the_threshold(
    doubts: list[float], share: float, signal: str
) -> None:
    router = cast("Any", open_router("uncertainty", signal=signal, target_share=share))
    threshold = router.fit(development(doubts))["threshold"]
    fitted = [router.fit(development([doubt]))["threshold"] for doubt in doubts]  # the signal of one step
    above = sum(value > threshold for value in fitted)
    assert above <= share * len(doubts) + 1e-9
    # One value lower and the target would be exceeded.
    assert sum(value >= threshold for value in fitted) > share * len(doubts) - 1e-9


@pytest.mark.parametrize(
    ("signal", "value"),
    [("mean-entropy", 0.4), ("first-token-entropy", 0.2), ("perplexity", 2.718281828**0.4), ("top2-margin", 0.6)],
)
def test_the_cascade_asks_high_above_the_threshold(signal: str, value: float) -> None:
    below = open_router("uncertainty", signal=signal, threshold=value - 1e-6)
    above = open_router("uncertainty", signal=signal, threshold=value + 1e-6)
    assert (choice(below, step()), choice(above, step())) == ("high", "low")


def test_the_cascade_without_a_threshold_says_what_is_missing() -> None:
    router = cast("Any", open_router("uncertainty"))
    with pytest.raises(MixrouteError, match="give the suite's task a calibration"):
        router.fit([])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("random", {"p": 1.5}),
        ("first-k", {"k": 0}),
        ("phase", {"high": "both"}),
        ("uncertainty", {"signal": "x"}),
        ("uncertainty", {"target_share": 1.0}),
    ],
)
def test_senseless_arguments_are_refused(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(MixrouteError, match=f"router '{name}' refuses"):
        open_router(name, **arguments)


@pytest.mark.parametrize(
    ("lists", "expected"), [((), "low"), (("go", "look"), "low"), (("GO",), "low"), (("look",), "high")]
)
def test_unlisted_asks_high_where_the_environment_does_not_know_lows_action(
    lists: tuple[str, ...], expected: str
) -> None:
    assert choice(open_router("unlisted"), step(lists=lists)) == expected
