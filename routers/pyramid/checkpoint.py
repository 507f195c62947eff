"""Checkpoints of Pyramid: ``router.json`` (trees, calibration, thresholds), ``card.json`` (recipe, data, metrics)
and the list of instances that it was trained on or that its thresholds were chosen on. All of it is plain JSON.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal, Self

import msgspec
from pydantic import Field, model_validator

from harness.config import Strict, check
from harness.files import write_atomically
from harness.json_files import read_json
from harness.pool import ModelSpec
from harness.traces.contamination import read_seen
from harness.training.card import RouterCard, read_card, write_card
from harness.training.checkpoint import atomic_folder, find_checkpoint
from harness.weights.checksums import CARD, check_sum
from routers.pyramid.features import CHECKED, FEATURES
from routers.pyramid.trees import CalibratedTrees

SHIPPED = Path(__file__).parent / "checkpoints"
ROUTER = "router.json"


class Escalation(Strict):
    """Effect of asking the oracle on dev, with its own prompt or anchored, and the thresholds chosen there."""

    fixes: float = Field(ge=0, le=1)
    """P(oracle right | majority wrong)."""
    breaks: float = Field(ge=0, le=1)
    """P(oracle wrong | majority right)."""
    threshold: float
    """Escalate at or above this P(majority wrong)."""
    kappa: float
    """Escalate above this value of computation, per expected cost of an oracle's answer."""


class Learned(Strict):
    """Learned parameters of the routers of a checkpoint."""

    schema_: Literal[1] = Field(alias="schema")
    members: list[str] = Field(min_length=1)
    oracle: str
    wrong: CalibratedTrees
    """P(majority wrong) from the features of all drafts."""
    right: dict[str, CalibratedTrees]
    """For each member, P(its answer is right) from the features of its draft alone."""
    tokens: float = Field(gt=0)
    """Mean length of the drafts on dev. The expected cost of an oracle call is the length of its drafts over this."""
    plain: Escalation
    anchored: Escalation | None
    best: str
    """The member that was right most often on the train queries."""
    doubt: float
    """Router ``confidence`` escalates where minus the mean log-probability of this member's tokens is at least this."""
    accept: list[float | None]
    """For each member, router ``frugal`` takes its answer from this probability on, or does not ask it (null)."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if set(self.right) != set(self.members) or len(self.accept) != len(self.members):
            raise ValueError(f"'right' and 'accept' are not those of the members {', '.join(self.members)}")
        if self.best not in self.members:
            raise ValueError(f"best = '{self.best}' is not among the members {', '.join(self.members)}")
        for model in (self.wrong, *self.right.values()):
            if tuple(model.features) not in (FEATURES, CHECKED) or model.features != self.wrong.features:
                raise ValueError("its features are not those of this version: train it again")
        return self

    @property
    def checked(self) -> bool:
        """Whether the features are those with equations checked."""
        return tuple(self.wrong.features) == CHECKED


def save_checkpoint(folder: Path, learned: Learned, card: RouterCard, seen: Collection[str]) -> None:
    """Write a checkpoint atomically."""
    with atomic_folder(folder) as made:
        write_atomically(made / ROUTER, msgspec.json.encode(learned.model_dump(mode="json", by_alias=True)) + b"\n")
        write_card(made, card, seen)


def checkpoint_folder(name: str) -> Path:
    """See ``harness.training.checkpoint.find_checkpoint``."""
    return find_checkpoint(name, SHIPPED, ROUTER)


def load_checkpoint(name: str) -> tuple[Learned, frozenset[str]]:
    """Load a shipped checkpoint by name, or one by its folder.

    Returns:
        Its parameters, and the instances that may not be reported.

    Raises:
        MixrouteError: it is missing or damaged.
    """
    folder = checkpoint_folder(name)
    path = folder / ROUTER
    check_sum(path)
    content: dict[str, Any] = read_json(path, dict[str, Any], "get the checkpoint again")
    return check(content, Learned, str(path)), read_seen(folder)


def training_pool(folder: Path) -> tuple[str, dict[str, str]]:
    """The pool that a checkpoint was trained with, and its models' fingerprints; both empty without a card.

    Raises:
        MixrouteError: the card is damaged.
    """
    found = read_card(ModelSpec(weights=str(folder)))
    return ("", {}) if found is None else check(dict(found), RouterCard, str(folder / CARD)).trained_with
