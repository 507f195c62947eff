"""Timing the models of a pool through the same calls that episodes make."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from harness.contracts import Backend
from harness.data import Completion, Message, Prompt, Request
from harness.errors import EpisodeError, MixrouteError
from harness.pool import ModelSpec, Pool, open_backend
from harness.provenance import provenance
from harness.seeding import seed_for
from harness.speed.card import SCHEMA, Cell, Sample, SpeedCard, read_speed_card, save_speed_card
from harness.speed.energy import energy_meter
from harness.text import quoted

log = logging.getLogger(__name__)

_WORDS = ("the", "of", "and", "to", "in", "is", "that", "for", "it", "as", "was", "with", "be", "by", "on", "not")
_ATTEMPTS = 5  # at a sample of which most calls run on together
_PHRASE = 12  # words; a model goes on with what repeats, and so does not end its answer early


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


@dataclass(frozen=True, slots=True)
class Burst:
    """Calls that began together."""

    seconds: float
    joules: float | None
    prompt_tokens: int
    decoded_tokens: int


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
    backend: Backend, name: str, concurrency: int, length: int, plan: MeasurementPlan, meter: Callable[[], float] | None
) -> Cell | None:
    """None where the model's context is too short."""
    try:
        words = _words_for(backend, length)
        _burst(backend, concurrency, words, 2, f"warm {length}", meter)  # what is compiled or allocated once
        samples = [
            _sample(backend, name, concurrency, words, plan.decode, f"{length} {repeat}", meter)
            for repeat in range(plan.repeats)
        ]
    except EpisodeError as error:
        log.warning("model '%s', prompts of %d tokens: left out: %s", name, length, error)
        return None
    return Cell(name, concurrency, length, samples)


def _sample(
    backend: Backend,
    name: str,
    concurrency: int,
    words: int,
    decode: int,
    seed: str,
    meter: Callable[[], float] | None,
) -> Sample:
    first = _burst(backend, concurrency, words, 1, f"first {seed}", meter)
    for attempt in range(_ATTEMPTS):
        whole = _burst(backend, concurrency, words, decode + 1, f"whole {seed} {attempt}", meter)
        decoded = whole.decoded_tokens - concurrency
        if 2 * decoded >= concurrency * decode:
            break
    else:
        raise MixrouteError(
            f"model {quoted(name)} ends its answers after {whole.decoded_tokens / concurrency:.1f} tokens: time it "
            "with --random-weights, or give a smaller --decode"
        )
    # Prompts differ by a few tokens from one burst to the next.
    prefill = first.seconds * whole.prompt_tokens / first.prompt_tokens
    used = first.joules is not None and whole.joules is not None
    return Sample(
        prompt_tokens=round(first.prompt_tokens / concurrency),
        decoded_tokens=decoded,
        prefill=first.seconds / first.prompt_tokens,
        decode=(whole.seconds - prefill) / decoded,
        prefill_joules=(first.joules or 0.0) / first.prompt_tokens if used else None,
        decode_joules=((whole.joules or 0.0) - (first.joules or 0.0)) / decoded if used else None,
    )


def _words_for(backend: Backend, length: int) -> int:
    """Number of words that make a prompt of ``length`` tokens for this model."""
    few, many = (_burst(backend, 1, words, 1, "words", None).prompt_tokens for words in (8, 24))
    return max(1, 8 + round((length - few) * 16 / (many - few)))


def _burst(
    backend: Backend, concurrency: int, words: int, tokens: int, seed: str, meter: Callable[[], float] | None
) -> Burst:
    """Ask ``concurrency`` new questions at once, and wait for all answers."""
    requests = [
        Request(f"calibrate {seed} {place}", _prompt(words, f"{seed} {concurrency} {place}"), max_tokens=tokens)
        for place in range(concurrency)
    ]

    async def together() -> list[Completion]:
        return await asyncio.gather(*(backend.generate(request) for request in requests))

    joules = meter() if meter else 0.0
    began = time.perf_counter()
    answers = asyncio.run(together())
    seconds = time.perf_counter() - began
    used = meter() - joules if meter else None
    for request in requests:
        backend.release(request.session)
    return Burst(seconds, used, sum(one.prompt_tokens for one in answers), sum(len(one.tokens) for one in answers))


def _prompt(words: int, name: str) -> Prompt:
    """A repeated phrase. No two names give the same beginning, so that no prefix cache helps."""
    seed = seed_for(name)
    rng = random.Random(seed)  # noqa: S311 - no secret
    phrase = [rng.choice(_WORDS) for _ in range(_PHRASE)]
    text = " ".join([f"{seed:x}"[:6], *(phrase * (words // _PHRASE + 1))[:words]])
    return Prompt((Message("user", text),), "plain")
