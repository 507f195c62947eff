"""The speed card: the measurements of ``mixroute calibrate`` as JSON, with every sample for the spread."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean, median, stdev
from typing import Annotated, Any

import msgspec

from harness.errors import MixrouteError
from harness.files import write_atomically
from harness.json_files import convert_plain, read_json
from harness.records import Amount, Count

SCHEMA = 1

Positive = Annotated[int, msgspec.Meta(ge=1, le=1 << 40)]


class Sample(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One repeat: ``concurrency`` calls at once, of prompts that are in no cache, first to decode one token, then more.

    Seconds are wall time over tokens of all calls together, so that the calls' shares add up to it.
    """

    prompt_tokens: Positive
    """Mean of a call."""
    decoded_tokens: Count
    """Sum over all calls, without the first token of each."""
    prefill: Amount
    """Seconds a prompt token."""
    decode: Amount
    """Seconds a decoded token; the time of the first calls, which decoded one token, is subtracted. On a
    machine that is busy with something else this may be negative: it is recorded, and a median below 0 not charged."""
    prefill_joules: Amount | None
    decode_joules: Amount | None


class Cell(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model at one concurrency and one length of prompt (in tokens, as asked for)."""

    model: str
    concurrency: Positive
    length: Positive
    samples: Annotated[list[Sample], msgspec.Meta(min_length=1)]

    def seconds(self, phase: str) -> tuple[float, float]:
        """Median and standard deviation over the repeats, in seconds a token.

        Args:
            phase: ``prefill`` or ``decode``.
        """
        values = [float(getattr(sample, phase)) for sample in self.samples]
        return median(values), stdev(values) if len(values) > 1 else 0.0

    def joules(self, phase: str) -> float | None:
        """Mean over the repeats, in joules a token; None where nothing measures energy."""
        values = [getattr(sample, f"{phase}_joules") for sample in self.samples]
        return None if None in values else fmean(values)


class SpeedCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All measurements of a pool, and the models and the machine that they were made with."""

    schema: int
    pool: str
    mode: str
    models: dict[str, dict[str, Any]]
    """Per model of the pool, the fields of its ``ModelCard``, how it was run (backend, options) and whether its weights
    were drawn at random."""
    energy: str
    """Source of the joules, or why they were not measured."""
    provenance: dict[str, Any]
    cells: list[Cell]

    def cell(self, model: str, concurrency: int, length: int) -> Cell | None:
        """The measurements of one model at one concurrency and length; None without any."""
        key = (model, concurrency, length)
        return next((cell for cell in self.cells if (cell.model, cell.concurrency, cell.length) == key), None)

    def arithmetic(self) -> dict[str, str]:
        """What computes the layers of each quantized model: ``W4A8``, ``W4A16``, ``unpacked``; others are left out."""
        found = {name: model.get("details", {}).get("arithmetic") for name, model in self.models.items()}
        return {name: str(arithmetic) for name, arithmetic in found.items() if arithmetic}


class _Model(msgspec.Struct):
    random: bool
    details: dict[str, Any] = {}


class _Hardware(msgspec.Struct):
    cpu: str
    gpus: list[str]


class _Provenance(msgspec.Struct):
    hardware: _Hardware


class _Objects(msgspec.Struct):
    """What readers rely on below the fields that ``SpeedCard`` declares."""

    models: dict[str, _Model]
    provenance: _Provenance


def read_speed_card(path: Path) -> SpeedCard:
    """The card in a file.

    Raises:
        MixrouteError: there is none, or it is of another schema.
    """
    fix = f"it is no speed card of schema {SCHEMA}, or damaged: write it with mixroute calibrate"
    card: SpeedCard = read_json(path, SpeedCard, fix)
    convert_plain(msgspec.to_builtins(card), _Objects, str(path), fix)
    if card.schema != SCHEMA:
        raise MixrouteError(f"{path} has schema {card.schema}, not {SCHEMA}: write it again with mixroute calibrate")
    return card


def save_speed_card(path: Path, card: SpeedCard) -> None:
    """Replace the file whole."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(card), indent=1) + b"\n")
