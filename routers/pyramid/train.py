"""``mixroute train pyramid``: plays queries, grows trees, calibrates them and chooses thresholds."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from harness.errors import MixrouteError
from harness.provenance import provenance
from harness.training.card import RouterCard
from harness.training.splits import open_train_and_dev
from routers.pyramid.checkpoint import Escalation, Learned, save_checkpoint
from routers.pyramid.choice import Outcome, cascade, escalate
from routers.pyramid.features import CHECKED, FEATURES, features, majority
from routers.pyramid.play import ANCHORED, PLAIN, PlayedQueries, Query, play_queries
from routers.pyramid.recipe import PyramidRecipe
from routers.pyramid.router import value_of_computation
from routers.pyramid.trees import CalibratedTrees, Floats, grow

log = logging.getLogger(__name__)

BINS = 10
"""Bins of the calibration error."""


def train_pyramid(recipe: PyramidRecipe, folder: Path) -> Path:
    """Play what is missing and learn the router.

    Args:
        recipe: Pool, data and hyperparameters.
        folder: Working folder; ``train`` and ``dev`` in it hold the runs.

    Returns:
        Folder of the checkpoint.

    Raises:
        MixrouteError: recipe or pool are wrong, or there are too few queries to learn from.
    """
    made = folder / "checkpoint"
    if (made / "card.json").exists():
        return made
    members = recipe.ensemble()
    train, dev = open_train_and_dev(recipe)
    grown_on = play_queries(recipe, train, folder / "train", [])
    chosen_on = play_queries(recipe, dev, folder / "dev", [PLAIN, ANCHORED] if recipe.anchored else [PLAIN])
    learned, facts = learn(recipe, members, grown_on, chosen_on)
    log.info("pyramid: %s", facts["p_wrong"])
    card = RouterCard(
        schema=1,
        name=recipe.name,
        recipe=recipe.model_dump(mode="json", by_alias=True),
        pool=dict(chosen_on.fingerprints),
        facts=facts,
        provenance=provenance(),
    )
    save_checkpoint(made, learned, card, [*grown_on.queries, *chosen_on.queries])
    return made


def learn(
    recipe: PyramidRecipe, members: Sequence[str], train: PlayedQueries, dev: PlayedQueries
) -> tuple[Learned, dict[str, Any]]:
    """Fit trees on the train queries and thresholds on the dev queries.

    Returns:
        The router's parameters, and the metrics for its card.

    Raises:
        MixrouteError: the majority is right, or wrong, on almost all train queries, so that nothing can be learned.
    """
    queries = list(train.queries.values())
    wrong = [not _vote(query) for query in queries]
    if min(sum(wrong), len(wrong) - sum(wrong)) < recipe.trees.folds:
        raise MixrouteError(
            f"recipe '{recipe.name}': the majority is wrong on {sum(wrong)} of {len(wrong)} train queries: learning "
            f"needs at least {recipe.trees.folds} of either kind (trees.folds): add instances, or take other members"
        )
    names = CHECKED if recipe.equations else FEATURES
    model = grow(names, [_all(query, recipe) for query in queries], wrong, recipe.trees, recipe.seed)
    right = {
        name: grow(
            names,
            [_alone(query, name, recipe) for query in queries],
            [query.members[name].right for query in queries],
            recipe.trees,
            recipe.seed,
        )
        for name in members
    }
    best = max(members, key=lambda name: sum(query.members[name].right for query in queries))
    return _choose(recipe, model, right, best, list(dev.queries.values()), len(queries))


def _vote(query: Query) -> bool:
    """Whether the majority is right."""
    answers = list(query.members.values())
    return answers[majority([answer.call for answer in answers])].right


def _all(query: Query, recipe: PyramidRecipe) -> tuple[float, ...]:
    return features([answer.call for answer in query.members.values()], checked=recipe.equations)


def _alone(query: Query, name: str, recipe: PyramidRecipe) -> tuple[float, ...]:
    return features([query.members[name].call], checked=recipe.equations)


def _choose(
    recipe: PyramidRecipe,
    wrong: CalibratedTrees,
    right: dict[str, CalibratedTrees],
    best: str,
    queries: Sequence[Query],
    trained: int,
) -> tuple[Learned, dict[str, Any]]:
    """Choose thresholds on dev; returns the parameters and the metrics."""
    members = list(right)
    chances = wrong.probabilities([_all(query, recipe) for query in queries])
    vote = np.array([_vote(query) for query in queries])
    ensemble = np.array([sum(answer.cost for answer in query.members.values()) for query in queries])
    tokens = float(np.mean([len(a.tokens) for query in queries for a in query.members.values()]))
    ways: dict[str, Escalation | None] = {PLAIN: None, ANCHORED: None}
    rules: dict[str, Outcome] = {}
    floor = recipe.keep * float(np.mean([query.oracle[PLAIN].right for query in queries]))
    always = float(np.mean([query.oracle[PLAIN].cost for query in queries]))
    for way in queries[0].oracle:
        oracle = np.array([query.oracle[way].right for query in queries])
        extra = [query.oracle[way].cost for query in queries]
        rates = Escalation(fixes=_rate(oracle[~vote]), breaks=_rate(~oracle[vote]), threshold=0.0, kappa=0.0)
        # An anchored oracle may fall below the floor of the plain one: then its own accuracy is what can be kept.
        kept = min(floor, float(oracle.mean()))
        values = [
            value_of_computation(float(chance), [a.call for a in query.members.values()], rates, tokens)
            for chance, query in zip(chances, queries, strict=True)
        ]
        threshold, rules[f"{way} threshold"] = escalate(chances, vote, oracle, ensemble, extra, kept)
        value, rules[f"{way} value"] = escalate(values, vote, oracle, ensemble, extra, kept)
        # "Above kappa" is "at or above" the next number.
        ways[way] = rates.model_copy(update={"threshold": threshold, "kappa": float(np.nextafter(value, -np.inf))})
    oracle = np.array([query.oracle[PLAIN].right for query in queries], dtype=float)
    extra = [query.oracle[PLAIN].cost for query in queries]
    own = [query.members[best] for query in queries]
    doubt, rules["confidence"] = escalate(
        [-a.tokens.mean_logprob for a in own],
        [a.right for a in own],
        oracle,
        [a.cost for a in own],
        extra,
        floor,
    )
    accept, rules["frugal"] = cascade(
        np.array([right[name].probabilities([_alone(query, name, recipe) for query in queries]) for name in members]),
        np.array([[query.members[name].right for query in queries] for name in members], dtype=float),
        np.array([[query.members[name].cost for query in queries] for name in members]),
        oracle,
        np.array(extra),
        floor,
    )
    plain = ways[PLAIN]
    assert plain is not None  # noqa: S101 - dev is always played so
    learned = Learned(
        schema=1,
        members=members,
        oracle=recipe.oracle,
        wrong=wrong,
        right=right,
        tokens=tokens,
        plain=plain,
        anchored=ways[ANCHORED],
        best=best,
        doubt=doubt,
        accept=accept,
    )
    facts = {
        "train": trained,
        "dev": len(queries),
        "accuracy": {
            **{name: _rate(np.array([query.members[name].right for query in queries])) for name in members},
            "majority": _rate(vote),
            **{f"oracle {way}": _rate(np.array([q.oracle[way].right for q in queries])) for way in queries[0].oracle},
        },
        "p_wrong": figures(chances, ~vote),
        "chosen": {rule: {**asdict(outcome), "cost": outcome.cost / always} for rule, outcome in rules.items()},
    }
    return learned, facts


def _rate(true: Floats | np.ndarray[Any, np.dtype[np.bool_]]) -> float:
    """Share of true values; 0 if there are none."""
    return float(np.mean(true)) if len(true) else 0.0


def figures(chances: Floats, truth: np.ndarray[Any, np.dtype[np.bool_]]) -> dict[str, float | None]:
    """AUC (None if all labels are equal), Brier score and expected calibration error over ten bins of equal width.

    Args:
        chances: [queries], predicted probabilities.
        truth: [queries], whether the event happened.
    """
    bins = np.minimum((chances * BINS).astype(int), BINS - 1)
    gaps = [abs(float(np.sum(chances[bins == number] - truth[bins == number]))) for number in range(BINS)]
    return {
        "auc": float(roc_auc_score(truth, chances)) if 0 < truth.sum() < len(truth) else None,
        "brier": float(np.mean((chances - truth) ** 2)),
        "calibration_error": sum(gaps) / len(truth),
    }
