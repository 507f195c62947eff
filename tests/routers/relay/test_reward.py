"""The reward table of RelayLLM, row by row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routers.relay.reward import Outcome, rewards, rho_of

RIGHT, WRONG = Outcome(True, False, 0.0), Outcome(False, False, 0.0)
RIGHT_CALL, WRONG_CALL = Outcome(True, True, 0.2), Outcome(False, True, 0.3)


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ([RIGHT, RIGHT_CALL, WRONG, WRONG_CALL], [1.5, 0.8, 0.0, 0.0]),  # easy
        ([RIGHT_CALL, WRONG, WRONG_CALL], [0.8, -1.0, 0.0]),  # it needs the large model
        ([WRONG, WRONG_CALL], [0.0, 0.3]),  # too hard
        ([WRONG, WRONG], [0.0, 0.0]),
        ([RIGHT], [1.5]),
        ([], []),
    ],
)
def test_the_table(group: list[Outcome], expected: list[float]) -> None:
    assert rewards(group) == pytest.approx(expected)


def test_rho_is_what_was_asked_for_over_the_response() -> None:
    assert rho_of([3, 5], 100) == pytest.approx(0.08)
    assert rho_of([500], 100) == 1.0
    assert rho_of([], 100) == 0.0
    assert (rho_of([1], 0), rho_of([], 0)) == (1.0, 0.0)


OUTCOME = st.builds(Outcome, st.booleans(), st.just(True), st.floats(0, 1)) | st.builds(
    Outcome, st.booleans(), st.just(False), st.just(0.0)
)


@given(st.lists(OUTCOME, min_size=1, max_size=8))
def test_right_is_never_worse_than_wrong_and_a_dearer_call_never_better(group: list[Outcome]) -> None:
    gained = rewards(group)
    right = [reward for one, reward in zip(group, gained, strict=True) if one.right]
    wrong = [reward for one, reward in zip(group, gained, strict=True) if not one.right]
    assert not right or not wrong or min(right) >= max(wrong)
    called = sorted((one.rho, reward) for one, reward in zip(group, gained, strict=True) if one.right and one.called)
    assert [reward for _, reward in called] == sorted((reward for _, reward in called), reverse=True)
