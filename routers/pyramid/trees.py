"""Boosted trees with isotonic calibration: fitted by scikit-learn, stored as JSON, evaluated here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.isotonic import IsotonicRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from harness.config import Strict

Floats = NDArray[np.float64]

LEAF = -1
"""Child index of a node without children."""


class Tree(Strict):
    """A regression tree as lists with one entry for each node; the root is first and children follow their parents."""

    feature: list[int]
    threshold: list[float]
    left: list[int]
    """Child for values of at most ``threshold``; ``LEAF`` at a leaf."""
    right: list[int]
    value: list[float]
    """Value that a leaf adds to the log-odds."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        count = len(self.value)
        if not count or {len(self.feature), len(self.threshold), len(self.left), len(self.right)} != {count}:
            raise ValueError("a tree's lists differ in length, or are empty")
        for node, (left, right) in enumerate(zip(self.left, self.right, strict=True)):
            if (left == LEAF) != (right == LEAF):
                raise ValueError(f"node {node} of a tree has one child")
            if left != LEAF and not (node < left < count and node < right < count):
                raise ValueError(f"node {node} of a tree has children {left} and {right}, of {count} nodes")
            if left != LEAF and self.feature[node] < 0:
                raise ValueError(f"node {node} of a tree reads feature {self.feature[node]}")
        return self

    def outputs(self, rows: NDArray[np.float32]) -> Floats:
        """The value of the leaf that each row falls into."""
        feature, threshold = np.array(self.feature), np.array(self.threshold)
        left, right = np.array(self.left), np.array(self.right)
        places = np.zeros(len(rows), dtype=np.intp)
        while (inner := np.flatnonzero(left[places] != LEAF)).size:
            nodes = places[inner]
            below = rows[inner, feature[nodes]] <= threshold[nodes]
            places[inner] = np.where(below, left[nodes], right[nodes])
        return np.array(self.value)[places]


class CalibratedTrees(Strict):
    """A calibrated probability as a function of features."""

    features: list[str] = Field(min_length=1)
    bias: float
    """Log-odds to which the trees add."""
    trees: list[Tree]
    knots: list[tuple[float, float]] = Field(min_length=1)
    """Pairs of log-odds and calibrated probability; linear between them, constant beyond them."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for tree in self.trees:
            if max(tree.feature) >= len(self.features):
                raise ValueError(f"a tree reads feature {max(tree.feature)}, of {len(self.features)}")
        odds, chances = [knot[0] for knot in self.knots], [knot[1] for knot in self.knots]
        if odds != sorted(odds) or chances != sorted(chances) or not 0 <= chances[0] <= chances[-1] <= 1:
            raise ValueError("the knots do not rise from probability 0 to 1")
        return self

    def log_odds(self, rows: ArrayLike) -> Floats:
        """Log-odds before calibration. Features are rounded to 32 bits, as scikit-learn does when it grows trees."""
        table = np.asarray(rows, dtype=np.float32).reshape(-1, len(self.features))
        odds = np.full(len(table), self.bias)
        for tree in self.trees:
            odds += tree.outputs(table)
        return odds

    def probabilities(self, rows: ArrayLike) -> Floats:
        """Calibrated probability of each row."""
        odds, chances = zip(*self.knots, strict=True)
        found: Floats = np.interp(self.log_odds(rows), odds, chances)
        return found

    def probability(self, row: Sequence[float]) -> float:
        """Calibrated probability of one row."""
        return float(self.probabilities([row])[0])


class TreesRecipe(Strict):
    """Hyperparameters, named as in scikit-learn's ``GradientBoostingClassifier``."""

    n_estimators: int = Field(default=100, ge=1)
    max_depth: int = Field(default=2, ge=1)
    learning_rate: float = Field(default=0.05, gt=0)
    subsample: float = Field(default=0.8, gt=0, le=1)
    min_samples_leaf: int = Field(default=10, ge=1)
    folds: int = Field(default=5, ge=2)
    """Folds of the cross-validation whose held-out log-odds the isotonic regression is fitted on."""


def grow(
    features: Sequence[str], rows: ArrayLike, labels: Sequence[bool], options: TreesRecipe, seed: int
) -> CalibratedTrees:
    """Fit P(label | features): trees on all rows, isotonic regression on held-out log-odds.

    If fewer than ``folds`` rows have one of the labels, the share of true labels is returned for every row.
    """
    truth = np.asarray(labels, dtype=np.int64)
    count = int(truth.sum())
    if min(count, len(truth) - count) < options.folds:
        share = count / len(truth)
        return CalibratedTrees(features=list(features), bias=0.0, trees=[], knots=[(0.0, share)])
    table = np.asarray(rows, dtype=np.float32)
    model = GradientBoostingClassifier(**options.model_dump(exclude={"folds"}), random_state=seed)
    folds = StratifiedKFold(options.folds, shuffle=True, random_state=seed)
    held_out = cross_val_predict(model, table, truth, cv=folds, method="decision_function")
    model.fit(table, truth)
    prior = model.init_.class_prior_
    return CalibratedTrees(
        features=list(features),
        bias=float(np.log(prior[1] / prior[0])),
        trees=[_plain(one.tree_, options.learning_rate) for one in model.estimators_[:, 0]],
        knots=_centred_isotonic(held_out, truth),
    )


def _centred_isotonic(odds: Floats, truth: NDArray[np.int64]) -> list[tuple[float, float]]:
    """Knots of the centred isotonic regression (Oron and Flournoy, Stat. Biopharm. Res. 9, 2017).

    Isotonic regression is a step function, so that a threshold includes a step as a whole or not at all. Here each step
    has its probability at its centre (the mean of its log-odds), with linear interpolation in between.
    """
    chances = IsotonicRegression(y_min=0.0, y_max=1.0).fit_transform(odds, truth)
    return [(float(odds[chances == chance].mean()), float(chance)) for chance in np.unique(chances)]


def _plain(tree: object, rate: float) -> Tree:
    feature, threshold, left, right, value = (
        getattr(tree, name) for name in ("feature", "threshold", "children_left", "children_right", "value")
    )
    leaf = left == LEAF
    return Tree(
        feature=np.where(leaf, 0, feature).tolist(),
        threshold=np.where(leaf, 0.0, threshold).tolist(),
        left=left.tolist(),
        right=right.tolist(),
        value=np.where(leaf, rate * value[:, 0, 0], 0.0).tolist(),
    )
