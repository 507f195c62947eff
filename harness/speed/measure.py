"""Timing the models of a pool through the same calls that episodes make."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from harness.contracts import Backend
from harness.errors import EpisodeError, MixrouteError
from harness.pool import ModelSpec, Pool, open_backend
from harness.provenance import provenance
from harness.speed.bursts import Meter, burst, timed, words_for
from harness.speed.card import SCHEMA, Cell, Sample, SpeedCard, read_speed_card, save_speed_card
from harness.speed.energy import energy_meter
from harness.text import quoted

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MeasurementPlan:
    """The measurements to make."""

    concurrencies: Sequence[int]
    lengths: Sequence[int]
    """Lengths of prompts in tokens; prompts meet them to within a few."""
    decode: int
    """Tokens that each call writes after its first."""
    repeats: int
    mode: Literal["deterministic", "throughput"]


def calibrate(pool: Pool, plan: MeasurementPlan, path: Path, shown: Callable[[Cell], None]) -> SpeedCard:
    """Measure what the card does not hold yet; it is saved after each cell. Models are loaded one after the other.

    Args:
        pool: The models to time.
        plan: The measurements to make.
        path: File of the card.
        shown: Called with each cell, those of an earlier session included.

    Raises:
        MixrouteError: a model cannot be loaded, or the card in the file is of other weights, mode or machine.
    """
    meter, energy = energy_meter()
    known = read_speed_card(path) if path.exists() else None
    card = known or SpeedCard(SCHEMA, pool.name, plan.mode, {}, energy, provenance(), [])
    if card.mode != plan.mode or _machine(card.provenance) != _machine(provenance()):
        raise MixrouteError(
            f"{path} was measured in mode {card.mode}, on another machine, or in another mode: use another --out"
        )
    for name, spec in pool.models.items():
        with _opened(name, spec, plan) as backend:
            facts = _facts(backend, spec)
            if card.models.get(name, facts) != facts:
                raise MixrouteError(
                    f"{path} holds model {quoted(name)} with other weights or options: use another --out"
                )
            card = msgspec.structs.replace(card, models={**card.models, name: facts})
            for length, concurrency in ((length, one) for length in plan.lengths for one in plan.concurrencies):
                cell = card.cell(name, concurrency, length)
                if cell is None:
                    cell = _cell(backend, name, concurrency, length, plan, meter)
                    if cell is None:
                        continue
                    card = msgspec.structs.replace(card, cells=[*card.cells, cell])
                    save_speed_card(path, card)
                shown(cell)
    return card


@contextmanager
def _opened(name: str, spec: ModelSpec, plan: MeasurementPlan) -> Iterator[Backend]:
    backend = open_backend(name, spec, deterministic=plan.mode == "deterministic")
    try:
        yield backend
    finally:
        backend.close()


def _facts(backend: Backend, spec: ModelSpec) -> dict[str, Any]:
    facts = {
        **asdict(backend.card()),
        "backend": spec.backend,
        "options": spec.options,
        "random": spec.has_random_weights,
    }
    return dict(msgspec.json.decode(msgspec.json.encode(facts)))  # as it will be read again


def _machine(recorded: dict[str, Any]) -> dict[str, Any]:
    return {key: recorded["hardware"][key] for key in ("cpu", "threads", "gpus")}


def _cell(
    backend: Backend, name: str, concurrency: int, length: int, plan: MeasurementPlan, meter: Meter | None
) -> Cell | None:
    """None where the model's context is too short."""
    try:
        words = words_for(backend, length)
        burst(backend, concurrency, words, 2, f"warm {length}", meter)  # what is compiled or allocated once
        samples = [
            Sample(**asdict(timed(backend, name, concurrency, words, plan.decode, f"{length} {repeat}", meter)))
            for repeat in range(plan.repeats)
        ]
    except EpisodeError as error:
        log.warning("model '%s', prompts of %d tokens: left out: %s", name, length, error)
        return None
    return Cell(name, concurrency, length, samples)
