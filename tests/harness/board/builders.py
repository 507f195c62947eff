"""Small run folders, written by the real writer, whose costs can be worked out by hand.

Model ``high`` has 1,000 bytes of weights and 100 parameters, ``low`` 250 bytes and 100 parameters. A call has 10 prompt
tokens, 4 of them cached, and decodes 3 tokens, so that it costs 4 x 1,000 or 4 x 250 bytes and 2 x 100 x 9 = 1,800
FLOPs; it takes 0.5 s on ``high`` and 0.25 s on ``low``.
"""

from __future__ import annotations

import lzma
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from msgspec import structs

from harness.data import ModelCard, RouterRole
from harness.files import content_hash
from harness.records import CallRecord, CallTiming, Episode, EpisodeTiming, RunMeta, StepRecord, StepTiming
from harness.traces.store import SCHEMA, TraceWriter

CARDS = {
    "high": ModelCard("high", parameters=100, weight_bytes=1_000, bits=16, fingerprint="f" * 64),
    "low": ModelCard("low", parameters=100, weight_bytes=250, bits=4, fingerprint="0" * 64),
}
PROTOCOL = {"step_cap": 50, "dialect": "0.4", "engine": "native", "show_admissible": True, "prompt_hash": "ab" * 32}


ROLES: Mapping[str, RouterRole] = {"random": "random", "dmr": "trained", "agreement-oracle": "oracle"}
"""Roles of routers, where they are not ``baseline``."""


@dataclass(frozen=True)
class Play:
    """One episode: the model that acted in each step, by first letter (``"hhl"``); ``x`` after it marks it invalid,
    ``?`` as of a task that lists no admissible actions.
    """

    steps: str = "h"
    success: bool = True
    kind: str = "pick"
    error: str | None = None
    score: float | None = None
    text: str = "look"


@dataclass(frozen=True)
class Run:
    """One run folder. ``plays`` is by instance; ``planned`` defaults to the instances played."""

    router: str
    plays: Mapping[str, Play]
    seed: int = 0
    label: str = ""
    curve: str = ""
    args: Mapping[str, Any] = field(default_factory=dict)
    protocol: Mapping[str, Any] = field(default_factory=lambda: PROTOCOL)
    planned: Sequence[str] | None = None
    task: str = "alfworld"
    pool: str = "toy"
    fitted: Mapping[str, Any] = field(default_factory=dict)
    cards: Mapping[str, ModelCard] = field(default_factory=lambda: CARDS)
    limit: int | None = None
    content: Mapping[str, str] = field(default_factory=dict)
    role: RouterRole | None = None
    config: Mapping[str, Any] = field(default_factory=dict)


def meta_of(run: Run) -> RunMeta:
    shared = {"protocol": dict(run.protocol), "models": {n: c.fingerprint for n, c in run.cards.items()}}
    config = {
        "router": run.router,
        "router_args": dict(run.args),
        "seed": run.seed,
        "limit": run.limit,
        "mode": "deterministic",
        "temperature": 0.0,
        **run.config,
    }
    label = run.label or run.router
    return RunMeta(
        schema=SCHEMA,
        id=re.sub(r"[^\w.=-]", "-", f"{run.task}_{run.router}_s{run.seed}", flags=re.ASCII),
        hash=content_hash([shared, config, dict(run.fitted), label, dict(run.content)]),
        group=content_hash(shared),
        label=label,
        task=run.task,
        split="valid_unseen",
        pool=run.pool,
        router=run.router,
        seed=run.seed,
        config=config,
        content=dict(run.content),
        protocol=dict(run.protocol),
        models={name: asdict(card) for name, card in run.cards.items()},
        fitted=dict(run.fitted),
        instances=sorted(run.planned if run.planned is not None else run.plays),
        provenance={},
        curve=run.curve,
        role=run.role or ROLES.get(run.router, "baseline"),
    )


def write_run(folder: Path, run: Run) -> Path:
    meta = meta_of(run)
    writer = TraceWriter(folder, meta)
    for instance, play in run.plays.items():
        writer.append(*_episode(meta, instance, play))
    writer.close()
    return folder


def pack(folder: Path) -> Path:
    """The published form of a run folder."""
    for name in ("episodes.jsonl", "timings.jsonl"):
        path = folder / name
        (folder / f"{name}.xz").write_bytes(lzma.compress(path.read_bytes()))
        path.unlink()
    return folder


def _episode(meta: RunMeta, instance: str, play: Play) -> tuple[Episode, EpisodeTiming]:
    steps: list[StepRecord] = []
    for letter in play.steps:
        if letter in "x?":
            steps[-1] = structs.replace(steps[-1], valid=False if letter == "x" else None)
        else:
            steps.append(_step({"h": "high", "l": "low"}[letter], play.text))
    score = float(play.success) if play.score is None else play.score
    end = "error" if play.error else "done"
    timings = [StepTiming(0.1, 0.01, [_call_timing(step.model)]) for step in steps]
    episode = Episode(
        SCHEMA, meta.hash, instance, play.kind, meta.seed, score, play.success, end, play.error, steps, play.text
    )
    return episode, EpisodeTiming(instance, meta.seed, 0.1, timings)


def _step(model: str, text: str) -> StepRecord:
    call = CallRecord(model, 10, 4, 3, 2, "stop", False, text, [-0.1] * 3, [0.5, 0.25, 9.0], [0.9] * 3)
    return StepRecord(text, ["look", "wait"], [call], text, text, True, 0.0, model)


def _call_timing(model: str) -> CallTiming:
    seconds = 0.5 if model == "high" else 0.25
    return CallTiming(queue=7.0, prefill=seconds / 2, decode=seconds / 2, latency=9.0)
