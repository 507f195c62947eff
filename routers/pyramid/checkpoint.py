"""Checkpoints of Pyramid: ``router.json`` (trees, calibration, thresholds), ``card.json`` (recipe, data, command,
figures) and the list of instances that it was trained on or that its thresholds were chosen on. Plain JSON throughout.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal, Self

import msgspec
from pydantic import Field, model_validator

from harness.config import Strict, check
from harness.errors import MixrouteError
from harness.files import write_atomically
from harness.traces.contamination import read_seen
from harness.training.card import write_card
from harness.training.checkpoint import find_checkpoint, made_whole
from routers.pyramid.features import CHECKED, FEATURES
from routers.pyramid.trees import CalibratedTrees

SHIPPED = Path(__file__).parent / "checkpoints"
ROUTER = "router.json"


class Escalation(Strict):
    """What came of asking the oracle on dev, with its own prompt or anchored, and the thresholds chosen there."""

    fixes: float = Field(ge=0, le=1)
    """P(oracle right | majority wrong)."""
    breaks: float = Field(ge=0, le=1)
    """P(oracle wrong | majority right)."""
    threshold: float
    """Escalate at or above this P(majority wrong)."""
    kappa: float
    """Escalate above this value of computation, per expected cost of an oracle's answer."""


class Learned(Strict):
    """All that the routers of a checkpoint need."""

    schema_: Literal[1] = Field(alias="schema")
    members: list[str] = Field(min_length=1)
    oracle: str
    wrong: CalibratedTrees
    """P(majority wrong) from the features of all drafts."""
    right: dict[str, CalibratedTrees]
    """For each member, P(its answer is right) from the features of its draft alone."""
    tokens: float = Field(gt=0)
    """Mean length of the drafts on dev; a query's own over this is the expected extra cost of its oracle call."""
    plain: Escalation
    anchored: Escalation | None
    best: str
    """The member that was right most often in training."""
    doubt: float
    """Router ``confidence`` escalates where minus the mean log-probability of this member's tokens is at least this."""
    accept: list[float | None]
    """For each member, router ``frugal`` takes its answer from this probability on, or does not ask it (null)."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
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


class PyramidCard(Strict):
    """Facts about a trained router."""

    schema_: Literal[1] = Field(alias="schema")
    name: str
    recipe: dict[str, Any]
    pool: dict[str, str]
    """Fingerprint of each model that it was trained with."""
    facts: dict[str, Any]
    """Of the data and of dev: accuracies, AUC, Brier score, calibration error, what each rule does."""
    provenance: dict[str, Any]


def save_checkpoint(folder: Path, learned: Learned, card: PyramidCard, seen: Collection[str]) -> None:
    """Write a checkpoint whole or not at all."""
    with made_whole(folder) as made:
        write_atomically(made / ROUTER, msgspec.json.encode(learned.model_dump(mode="json", by_alias=True)) + b"\n")
        write_card(made, card.model_dump(mode="json", by_alias=True), seen)


def load_checkpoint(name: str) -> tuple[Learned, frozenset[str]]:
    """A shipped checkpoint by name, or one by its folder: the router, and the instances that it may not report on.

    Raises:
        MixrouteError: it is missing or damaged.
    """
    folder = find_checkpoint(name, SHIPPED, ROUTER)
    path = folder / ROUTER
    try:
        content = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MixrouteError(f"{path} is no JSON object ({error}): get the checkpoint again") from error
    return check(content, Learned, str(path)), read_seen(folder)
