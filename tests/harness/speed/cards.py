"""A speed card whose charges can be worked out by hand: model ``low`` takes half of what ``high`` takes."""

from __future__ import annotations

from harness.speed.card import SCHEMA, Cell, Sample, SpeedCard

HARDWARE = {"hardware": {"cpu": "a CPU", "threads": 1, "gpus": []}}
READ = {(1, 10): 2.0, (1, 100): 1.0, (4, 10): 1.0, (4, 100): 0.5}
"""Seconds in which ``high`` reads a token, by concurrency and length. Writing one takes ten times that."""


def speed_card(**changes: object) -> SpeedCard:
    cells = [
        Cell(name, calls, length, [Sample(length, 32, share * read, share * 10 * read, None, None)])
        for name, share in (("high", 1.0), ("low", 0.5))
        for (calls, length), read in READ.items()
    ]
    models = {name: {"random": False} for name in ("high", "low")}
    fields = {"pool": "toy", "mode": "throughput", "models": models, "energy": "not measured: no CUDA device"}
    return SpeedCard(schema=SCHEMA, provenance=HARDWARE, cells=cells, **{**fields, **changes})  # type: ignore[arg-type]
