"""Votes and features of an ensemble's answers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.traces.recording import record_call
from mixroute import Completion, Token, open_task
from routers.pyramid.answers import final_answer, votes
from routers.pyramid.features import CHECKED, FEATURES, features, majority

TEXTS = st.one_of(
    st.integers(-3, 3).map(lambda n: f"1 + 1 = 2\n#### {n}"), st.text("a1# \n$.,{}", max_size=8), st.just("")
)
TOKENS = st.lists(st.tuples(st.floats(-30, 0), st.floats(0, 1)), min_size=1, max_size=6)


def made(text: str, tokens: list[tuple[float, float]]) -> Completion:
    statistics = tuple(Token(1, logprob, 0.1, margin) for logprob, margin in tokens)
    return Completion("low", text, statistics, len(tokens), "stop", 5, 0)


DRAFTS = st.lists(st.builds(made, TEXTS, TOKENS), min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("4 * 3 = 12\n#### 12", "12"),
        ("#### $1,234.50", "1234.5"),
        ("#### 7.00\nQuestion: next\n#### 9", "7"),
        ("####-0", "0"),
        ("so \\boxed{1}, no: \\boxed{\\frac{1}{2}}.", "\\frac{1}{2}"),
        ("\\boxed{{cut off", "{cut off"),
        ("The answer is: $42$.", "42"),
        ("Answer: no. The answer is **1,000**", "1000"),
        ("The answer is 3/4", "3/4"),
        ("The answer is 42. It is not 41.", "42"),
        ("It answers to 4", None),
        ("####", None),
        ("", None),
    ],
)
def test_a_marked_answer_is_found(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


def test_a_worked_solution_votes_for_what_the_task_grades() -> None:
    solved = [one.data for one in open_task("arith-gen", split="dev").instances()[:48]]
    assert [final_answer(one.solution) for one in solved] == [str(one.answer) for one in solved]


def test_the_unmarked_have_no_vote_beside_the_marked() -> None:
    assert votes(["#### 4", "I got 4"]) == ["4", None]
    assert votes(["go  north", "go north", " "]) == ["go north", "go north", None]


@given(DRAFTS)
def test_features_lie_within_their_bounds(drafts: list[Completion]) -> None:
    found = dict(zip(FEATURES, features(drafts), strict=True))
    assert all(math.isfinite(value) for value in found.values())
    count = len(drafts)
    assert 0 <= found["vote_share"] <= 1 - found["abstained"] + 1e-12 <= 1 + 1e-12
    assert 0 <= found["answer_entropy"] <= math.log(max(1.0, found["distinct_answers"])) + 1e-12
    assert 0 <= found["distinct_answers"] <= count
    assert 0 <= found["similarity_min"] <= found["similarity_mean"] <= 1
    assert -30 <= found["logprob_min"] <= found["logprob_mean"] <= 0
    assert found["logprob_min"] <= found["logprob_chosen"] <= 0
    assert 0 <= found["margin_min"] <= found["margin_mean"] <= 1
    assert 1 <= found["length_min"] <= found["length_mean"] <= found["length_max"] <= 6
    agree = found["vote_share"] == 1
    assert agree == (found["distinct_answers"] == 1 and found["abstained"] == 0)
    assert not agree or found["answer_entropy"] == 0
    checked = dict(zip(CHECKED, features(drafts, checked=True), strict=True))
    assert found.items() <= checked.items()


def test_equations_are_checked_in_all_drafts_and_in_the_chosen_one() -> None:
    drafts = [made("1 + 1 = 3\n2 + 2 = 5\n#### 5", [(-2.0, 0.5)]), made("1 + 1 = 2\n#### 2", [(-1.0, 0.5)])]
    assert features(drafts, checked=True)[-2:] == (1.0, 0.0)
    assert features(drafts[:1], checked=True)[-2:] == (2.0, 2.0)


@given(DRAFTS, st.randoms(use_true_random=False))
def test_the_order_of_members_is_irrelevant(drafts: list[Completion], rng: object) -> None:
    other = list(drafts)
    rng.shuffle(other)  # type: ignore[attr-defined]
    assert features(drafts) == features(other)
    ours, theirs = drafts[majority(drafts)], other[majority(other)]
    assert ours.statistics.mean_logprob == theirs.statistics.mean_logprob


@given(DRAFTS)
def test_no_answer_has_more_votes_than_the_majority(drafts: list[Completion]) -> None:
    cast = votes([draft.text for draft in drafts])
    chosen = cast[majority(drafts)]
    most = max((cast.count(vote) for vote in cast if vote is not None), default=0)
    assert (cast.count(chosen) if chosen is not None else 0) == most


def test_a_tie_goes_to_the_likeliest_draft() -> None:
    drafts = [made("#### 1", [(-2.0, 0.5)]), made("#### 2", [(-1.0, 0.5)]), made("I gave up", [(-0.1, 0.5)])]
    assert majority(drafts) == 1
    assert majority([*drafts, made("#### 1", [(-3.0, 0.5)])]) == 0


@given(st.lists(st.tuples(st.floats(-9, 0), st.floats(0, 1)), min_size=1, max_size=6), st.integers(0, 6))
def test_an_answer_has_the_same_features_in_play_and_in_the_trace(
    tokens: list[tuple[float, float]], content: int
) -> None:
    content = min(content, len(tokens))
    call = Completion("a", "text", tuple(Token(1, one, 0.1, margin) for one, margin in tokens), content, "stop", 5, 0)
    assert features([call]) == features([record_call(call, switch=False)])
    assert features([call])[FEATURES.index("length_mean")] == min(content + 1, len(tokens))


def test_the_mean_of_equal_margins_is_their_largest() -> None:
    draft = made("#### 1", [(-1.0, 0.1)] * 3)  # the sum of three 0.1, over three, is above 0.1
    found = dict(zip(FEATURES, features([draft]), strict=True))
    assert found["margin_min"] == found["margin_mean"] == 0.1
