"""``mixroute variants``: how far the models of a pool fall behind its ``high``, measured on development games.

The reference is the greedy episodes of ``high``. Every quantized variant reads the tokens of these, so that
distributions are compared at the same states; then every variant plays by itself.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from transformers import PreTrainedModel

from harness.backends.loading import TransformersOptions, open_for_comparison
from harness.backends.model_card import model_card
from harness.config import check
from harness.data import ModelCard
from harness.engine.opening import open_instances
from harness.errors import MixrouteError
from harness.files import write_atomically
from harness.json_files import read_json
from harness.metrics.statistics import Estimate, clustered_mean
from harness.pool import load_pool
from harness.quantization.divergence import divergences
from harness.records import Episode
from harness.suite import TaskEntry
from harness.training.demonstrate import as_played
from harness.training.examples import Example, encode
from harness.training.play import DevGames

log = logging.getLogger(__name__)

REFERENCE = "high"


@dataclass(frozen=True, slots=True)
class QuantizedVariant:
    """One row of the table: a model compared with ``high``. KL in nats, shares in [0, 1]."""

    model: str
    fingerprint: str
    bits: float
    """Stored bits a parameter, scales and unquantized layers included."""
    weight_bytes: int
    kl: float
    """Mean over action tokens of KL(high || variant)."""
    flips: float
    """Share of actions with a token that the variant would choose otherwise."""
    success: Estimate
    steps: float
    """Mean steps of an episode."""
    invalid: float
    """Share of actions that the game refused."""


def compare(pool: str, tasks: Sequence[TaskEntry], folder: Path, seed: int = 0) -> list[QuantizedVariant]:
    """Measure every model of ``pool``; writes ``folder/variants.json`` and ``folder/variants.md`` after each model.

    Another call measures only models that are missing, or whose weights have changed.

    Args:
        pool: A pool with a model ``high``, all of backend ``transformers`` and with one tokenizer.
        tasks: The development games.
        folder: For the table.
        seed: Root seed of the play, which is greedy.

    Raises:
        MixrouteError: the pool has no ``high``, or a model cannot be read.
    """
    models = load_pool(pool).models
    if REFERENCE not in models:
        raise MixrouteError(f"pool '{pool}' has no model '{REFERENCE}' to compare with: it has {', '.join(models)}")
    opened = [open_instances(entry) for entry in tasks]
    games = DevGames(opened, seed)
    order = [REFERENCE, *(name for name in models if name != REFERENCE)]
    known = _known(folder, tasks)
    reference, encoder = open_for_comparison(REFERENCE, models[REFERENCE])

    @cache
    def played(name: str) -> list[list[Episode]]:
        log.info("playing %d games with '%s'", sum(len(one.instances) for one in opened), name)
        return games.episodes(models[name])

    @cache
    def examples() -> list[Example]:
        return [
            encode(as_played(episode), one.task, encoder)
            for one, episodes in zip(opened, played(REFERENCE), strict=True)
            for episode in episodes
            if not episode.error
        ]

    rows: list[QuantizedVariant] = []
    for name in order:
        variant = reference if name == REFERENCE else open_for_comparison(name, models[name])[0]
        card = model_card(name, variant, models[name], check(models[name].options, TransformersOptions, name))
        if name in known and known[name].fingerprint == card.fingerprint:
            rows.append(known[name])
            continue
        log.info("reading %d episodes with '%s'", len(examples()), name)
        kl, flips = _distance(reference, variant, examples())
        rows.append(_row(card, kl, flips, [e for episodes in played(name) for e in episodes]))
        _write(folder, rows, pool, tasks)
    return rows


class _Written(msgspec.Struct):
    """What is read of ``variants.json``."""

    tasks: list[dict[str, Any]]
    rows: list[QuantizedVariant]


def _known(folder: Path, tasks: Sequence[TaskEntry]) -> dict[str, QuantizedVariant]:
    """The rows of an earlier call on the same tasks, which versions before 0.2 wrote to ``twins.json``."""
    written = next((file for file in (folder / "variants.json", folder / "twins.json") if file.exists()), None)
    if written is None:
        return {}
    content: _Written = read_json(written, _Written, "delete it")
    if content.tasks != [task.model_dump() for task in tasks]:
        return {}
    return {row.model: row for row in content.rows}


def _distance(high: PreTrainedModel, variant: PreTrainedModel, examples: Sequence[Example]) -> tuple[float, float]:
    """Mean KL(high || variant) over action tokens, and the share of actions with another greedy token."""
    actions = [action for example in examples for action in divergences(high, variant, example)]
    tokens = [kl for action in actions for kl in action.kl]
    return sum(tokens) / max(1, len(tokens)), sum(action.flip for action in actions) / max(1, len(actions))


def _row(card: ModelCard, kl: float, flips: float, episodes: Sequence[Episode]) -> QuantizedVariant:
    steps = [step for episode in episodes for step in episode.steps]
    return QuantizedVariant(
        model=card.model,
        fingerprint=card.fingerprint,
        bits=card.bits,
        weight_bytes=card.weight_bytes,
        kl=round(kl, 6),
        flips=round(flips, 6),
        success=clustered_mean([e.success for e in episodes], [e.instance for e in episodes]),
        steps=round(len(steps) / len(episodes), 3),
        invalid=round(sum(step.valid is False for step in steps) / max(1, len(steps)), 6),
    )


def _write(folder: Path, rows: Sequence[QuantizedVariant], pool: str, tasks: Sequence[TaskEntry]) -> None:
    content = {
        "schema": 1,
        "pool": pool,
        "tasks": [task.model_dump() for task in tasks],
        "rows": [{**asdict(row), "success": _plain(row.success)} for row in rows],
    }
    write_atomically(folder / "variants.json", json.dumps(content, indent=1).encode() + b"\n")
    write_atomically(folder / "variants.md", markdown(rows).encode())


def _plain(estimate: Estimate) -> dict[str, float | None]:
    return {"mean": estimate.mean, "low": estimate.low, "high": estimate.high}


def markdown(rows: Sequence[QuantizedVariant]) -> str:
    """The table in Markdown."""
    lines = ["| model | bits | MB | KL to high | flips % | success % | steps | invalid % |", "| --- " * 8 + "|"]
    for row in rows:
        share = row.success
        interval = (
            "" if share.low is None or share.high is None else f" [{100 * share.low:.1f}, {100 * share.high:.1f}]"
        )
        lines.append(
            f"| {row.model} | {row.bits:.2f} | {row.weight_bytes / 1e6:.1f} | {row.kl:.4f} | {100 * row.flips:.1f} "
            f"| {100 * (share.mean or 0):.1f}{interval} | {row.steps:.1f} | {100 * row.invalid:.1f} |"
        )
    return "\n".join(lines) + "\n"
