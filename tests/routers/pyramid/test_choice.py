"""Thresholds: the cheapest that keep the floor; what they are put on, and what is measured."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixroute import Completion, Token
from routers.pyramid.checkpoint import Escalation
from routers.pyramid.choice import cascade, escalate
from routers.pyramid.router import value_of_computation
from routers.pyramid.train import figures
from tests.examples import examples

QUERY = st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.9]), st.booleans(), st.booleans(), st.integers(1, 9))


@examples(0.4)
@given(st.lists(QUERY, min_size=1, max_size=12), st.floats(0.5, 1))
def test_no_cheaper_threshold_keeps_the_floor(queries: list[tuple[float, bool, bool, int]], keep: float) -> None:
    scores, right, oracle, extra = zip(*queries, strict=True)
    floor = keep * sum(oracle) / len(queries)
    threshold, outcome = escalate(scores, right, oracle, [1] * len(queries), extra, floor)

    def played(level: float) -> tuple[float, float]:
        asked = [score >= level for score in scores]
        truth = [its if ask else own for ask, own, its in zip(asked, right, oracle, strict=True)]
        return sum(truth) / len(queries), 1 + sum(e for e, ask in zip(extra, asked, strict=True) if ask) / len(queries)

    assert np.allclose((outcome.accuracy, outcome.cost), played(threshold))
    assert outcome.accuracy >= floor - 1e-9
    for level in (0.0, 0.2, 0.4, 0.6, 1.0):
        accuracy, cost = played(level)
        assert accuracy < floor or cost >= outcome.cost - 1e-9


def test_a_cascade_asks_who_is_right_and_knows_it() -> None:
    chances = np.array([[0.9, 0.8, 0.2, 0.1], [0.5, 0.5, 0.5, 0.5]])
    right = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    costs, oracle = np.ones((2, 4)), np.ones(4)
    plan, outcome = cascade(chances, right, costs, oracle, 10 * oracle, 1.0)
    assert plan == [0.8, None]  # the second member is right where the first is
    assert (outcome.accuracy, outcome.cost, outcome.escalated) == (1.0, 6.0, 0.5)
    plan, outcome = cascade(chances, right, costs, oracle, 10 * oracle, 0.5)
    assert plan[0] == 0.1  # taken always
    assert (outcome.accuracy, outcome.cost, outcome.escalated) == (0.5, 1.0, 0.0)


def test_a_cascade_of_many_members_is_chosen_in_time() -> None:
    rng = np.random.default_rng(0)
    chances = rng.random((7, 30))
    right = (rng.random((7, 30)) < chances).astype(float)
    plan, outcome = cascade(chances, right, np.ones((7, 30)), np.ones(30), np.full(30, 50.0), 0.9)
    assert len(plan) == 7
    assert outcome.accuracy >= 0.9


def test_the_value_of_computation_is_gain_over_cost() -> None:
    way = Escalation(fixes=0.8, breaks=0.1, threshold=0.0, kappa=0.0)
    drafts = [Completion("low", "", (Token(1, -1.0, 0.1, 0.5),) * length, length, "stop", 5, 0) for length in (3, 5)]
    # 0.5 * 0.8 - 0.5 * 0.1 = 0.35, at twice the mean length.
    assert value_of_computation(0.5, drafts, way, tokens=2.0) == pytest.approx(0.175)
    assert value_of_computation(0.1, drafts, way, tokens=2.0) < 0  # it breaks more than it fixes


def test_figures_are_those_of_their_definitions() -> None:
    chances, truth = np.array([0.1, 0.15, 0.8, 1.0]), np.array([False, True, True, True])
    found = figures(chances, truth)
    assert found["auc"] == 1.0
    assert found["brier"] == pytest.approx((0.01 + 0.7225 + 0.04) / 4)
    # Bins 0.1 to 0.2 (forecast 0.25 of 2, 1 true), 0.8 to 0.9 and 0.9 to 1.
    assert found["calibration_error"] == pytest.approx((0.75 + 0.2 + 0.0) / 4)
    assert figures(chances, truth | True)["auc"] is None
