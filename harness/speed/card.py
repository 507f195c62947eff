"""The speed card: the measurements of ``mixroute calibrate`` as JSON, with every sample for the spread."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import msgspec

from harness.errors import MixrouteError
from harness.files import write_atomically

SCHEMA = 1


class Sample(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One repeat: ``concurrency`` calls at once, of prompts that are in no cache, first to decode one token, then more.

    Seconds are wall time over tokens of all calls together, so that the calls' shares add up to it.
    """

    prompt_tokens: int
    """Mean of a call."""
    decoded_tokens: int
    """Sum over all calls, without the first token of each."""
    prefill: float
    """Seconds a prompt token."""
    decode: float
    """Seconds a decoded token; the time of the first calls, which decoded one token, is subtracted. On a
    machine that is busy with something else this may be negative: it is recorded, and a median below 0 not charged."""
    prefill_joules: float | None
    decode_joules: float | None


class Cell(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model at one concurrency and one length of prompt (in tokens, as asked for)."""

    model: str
    concurrency: int
    length: int
    samples: list[Sample]

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


def read_speed_card(path: Path) -> SpeedCard:
    """The card in a file.

    Raises:
        MixrouteError: there is none, or it is of another schema.
    """
    try:
        card = msgspec.json.decode(path.read_bytes(), type=SpeedCard)
    except OSError as error:
        raise MixrouteError(
            f"speed card {path} cannot be read ({error.strerror}): write it with mixroute calibrate"
        ) from error
    except msgspec.MsgspecError as error:
        raise MixrouteError(
            f"{path} is no speed card of schema {SCHEMA} ({error}): write it with mixroute calibrate"
        ) from error
    if card.schema != SCHEMA:
        raise MixrouteError(f"{path} has schema {card.schema}, not {SCHEMA}: write it again with mixroute calibrate")
    return card


def save_speed_card(path: Path, card: SpeedCard) -> None:
    """Replace the file whole."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(card), indent=1) + b"\n")
