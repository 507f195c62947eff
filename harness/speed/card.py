"""The speed card: what ``mixroute calibrate`` has measured, as JSON; samples are kept, so that spread is known."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import msgspec

from harness.errors import MixrouteError
from harness.files import write_atomically

SCHEMA = 1


class Sample(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One repeat: ``concurrency`` calls at once, of prompts that nobody has read, first to write one token, then more.

    Seconds are wall time over tokens of all calls together, so that the calls' shares add up to it.
    """

    prompt_tokens: int
    """Of one call, on average."""
    decoded_tokens: int
    """Of all calls, after the first token of each."""
    prefill: float
    """Seconds a prompt token."""
    decode: float
    """Seconds a decoded token; the time of the first calls, which wrote one token, is taken off. On a machine that is
    busy with something else that may leave less than nothing: it is kept, and its median is not charged."""
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
    """Everything that was measured, and on what."""

    schema: int
    pool: str
    mode: str
    models: dict[str, dict[str, Any]]
    """Per model of the pool, the fields of its ``ModelCard``, how it was run (backend, options) and whether its weights
    were drawn at random."""
    energy: str
    """What measured joules, or why nothing did."""
    provenance: dict[str, Any]
    cells: list[Cell]

    def cell(self, model: str, concurrency: int, length: int) -> Cell | None:
        """What was measured there."""
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
            f"speed card {path} cannot be read ({error.strerror}): make it: mixroute calibrate"
        ) from error
    except msgspec.MsgspecError as error:
        raise MixrouteError(
            f"{path} is no speed card of schema {SCHEMA} ({error}): make it: mixroute calibrate"
        ) from error
    if card.schema != SCHEMA:
        raise MixrouteError(f"{path} has schema {card.schema}, not {SCHEMA}: make it again: mixroute calibrate")
    return card


def save_speed_card(path: Path, card: SpeedCard) -> None:
    """Replace the file whole."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(card), indent=1) + b"\n")
