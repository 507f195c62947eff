"""The evaluator gives what scikit-learn gives, and reads nothing that is not a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.ensemble import GradientBoostingClassifier

from routers.pyramid.trees import CalibratedTrees, TreesRecipe, grow
from tests.examples import examples

NAMES = ["a", "b", "c"]


def data(seed: int, count: int = 160) -> tuple[np.ndarray[Any, Any], list[bool]]:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, 3)).round(2)
    return rows, list(rng.random(count) < 1 / (1 + np.exp(-3 * rows[:, 0] * np.sign(rows[:, 1]))))


@examples(0.04)
@given(st.integers(0, 1000), st.integers(1, 4))
def test_it_evaluates_as_scikit_learn_does(seed: int, depth: int) -> None:
    rows, labels = data(seed)
    options = TreesRecipe(n_estimators=20, max_depth=depth)
    ours = CalibratedTrees.model_validate_json(grow(NAMES, rows, labels, options, seed).model_dump_json())
    theirs = GradientBoostingClassifier(**options.model_dump(exclude={"folds"}), random_state=seed)
    theirs.fit(rows.astype(np.float32), labels)
    new = np.concatenate([rows, data(seed + 1)[0], 100 * data(seed + 2)[0]])
    expected = theirs.decision_function(new.astype(np.float32))
    assert np.abs(ours.log_odds(new) - expected).max() < 1e-9
    chances = ours.probabilities(new)
    assert ((chances >= 0) & (chances <= 1)).all()
    assert (np.diff(chances[np.argsort(expected)]) >= -1e-12).all()
    assert ours.probability(new[7]) == chances[7]


def test_it_learns_and_is_calibrated() -> None:
    rows, labels = data(0, 900)
    model = grow(NAMES, rows, labels, TreesRecipe(max_depth=3), 0)
    new, truth = data(1, 900)
    chances = model.probabilities(new)
    high, low = chances > 0.75, chances < 0.25
    assert high.sum() > 90
    assert low.sum() > 90
    assert abs(np.mean(np.array(truth)[high]) - chances[high].mean()) < 0.1
    assert abs(np.mean(np.array(truth)[low]) - chances[low].mean()) < 0.1


def test_where_all_labels_are_alike_their_share_is_the_answer() -> None:
    rows, _ = data(0, 20)
    assert grow(NAMES, rows, [True] * 20, TreesRecipe(), 0).probability(rows[0]) == 1.0
    assert grow(NAMES, rows, [True] + [False] * 19, TreesRecipe(), 0).probability(rows[0]) == 0.05


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"left": [0, -1, -1]}, "children 0 and 2"),
        ({"right": [3, -1, -1]}, "of 3 nodes"),
        ({"right": [-1, -1, -1]}, "one child"),
        ({"feature": [3, 0, 0]}, "reads feature 3, of 3"),
        ({"feature": [-1, 0, 0]}, "reads feature -1"),
        ({"value": [0.0]}, "differ in length"),
    ],
)
def test_a_tree_that_is_none_is_refused(changes: dict[str, Any], message: str) -> None:
    tree = {"feature": [2, 0, 0], "threshold": [0.5, 0, 0], "left": [1, -1, -1], "right": [2, -1, -1]}
    model = {"features": NAMES, "bias": 0.0, "knots": [(0.0, 0.5)]}
    whole = {**tree, "value": [0.0, -1.0, 1.0]}
    assert CalibratedTrees.model_validate({**model, "trees": [whole]}).log_odds([[9, 9, 0.5], [9, 9, 0.6]])[1] == 1.0
    with pytest.raises(ValidationError, match=message):
        CalibratedTrees.model_validate({**model, "trees": [{**whole, **changes}]})


def test_knots_that_fall_are_refused() -> None:
    with pytest.raises(ValidationError, match="do not rise"):
        CalibratedTrees(features=NAMES, bias=0.0, trees=[], knots=[(0.0, 0.5), (1.0, 0.4)])


def test_probabilities_rise_instead_of_standing_still() -> None:
    rows, labels = data(0)
    model = grow(NAMES, rows, labels, TreesRecipe(), 0)
    odds, chances = model.log_odds(rows), model.probabilities(rows)
    inside = (odds > model.knots[0][0]) & (odds < model.knots[-1][0])
    assert inside.sum() > 20
    assert len(set(chances[inside])) == len(set(odds[inside]))
