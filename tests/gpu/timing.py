"""W4A16 against bfloat16 in one process, in turns: whole calls, and passes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from math import sqrt
from statistics import median
from typing import Any

import torch

from harness.backends.row_check import least_rows
from harness.backends.sequences import Chunk
from harness.errors import EpisodeError
from harness.speed.bursts import burst, timed, words_for
from harness.speed.energy import energy_meter
from tests.gpu.engine import Engine
from tests.gpu.machine import provenance_of_run
from tests.gpu.models import facts, random_model
from tests.gpu.products import Plan, seconds_of
from tests.gpu.results import Budget, Results
from tests.tiny_model import tiny_tokenizer

CARD_SCHEMA = 1
_REPEATS = 3
TURN = 32
"""Tokens of a turn, in ``time_caches``."""
MISSED = (1, 2, 4, 8)
"""Turns that a model has not read when it takes over."""


class Pair:
    """Both models of a shape in memory, and the speed card that grows as they are timed."""

    def __init__(self, results: Results, shape: str, plan: Plan) -> None:
        self.results, self.shape, self.plan = results, shape, plan
        self.meter, energy = energy_meter()
        most = max(plan.concurrencies)
        # Room for what is timed: a prompt of the longest length for each call, with what a model has missed.
        options: dict[str, Any] = {"max_batch": most, "max_rows": 8192, "kv_cache_mb": 1 << 15}
        self.engines: dict[str, Engine] = {}
        self.cells: list[dict[str, Any]] = []
        models: dict[str, Any] = {}
        try:
            for name in ("low", "high"):  # low first: dense weights are there only while it is packed
                models[name] = self._load(name, options)
        except Exception:  # out of memory: the next shape needs what is held
            self.close()
            raise
        self.card: dict[str, Any] = {
            "schema": CARD_SCHEMA,
            "pool": shape,
            "mode": "throughput",
            "models": {name: models[name] for name in ("high", "low")},
            "energy": energy,
            "provenance": provenance_of_run(),
            "cells": self.cells,
        }

    def _load(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        began = time.perf_counter()
        model = random_model(self.shape, self.plan.device, packed=name == "low")
        self.engines[name] = Engine(name, model, _endless_tokenizer(), **options)
        found = facts(name, self.shape, model, {"dtype": "bfloat16", **options})
        self.results.add("load", shape=self.shape, seconds=round(time.perf_counter() - began, 1), **found)
        return found

    def close(self) -> None:
        """Free both models."""
        for engine in self.engines.values():
            engine.close()

    def time_calls(self, budget: Budget) -> None:
        """Prefill and decode of whole calls, the models in turns; the card is saved after each cell.

        Every cell is timed once before any is timed again, so that a run that is cut short has as many as possible.
        """
        took: dict[tuple[int, int], float] = {}
        for repeat in range(_REPEATS):
            for cell in self._cells():
                if budget.left < _expected(cell, took):
                    self.results.add("calls", shape=self.shape, skipped=cell, repeat=repeat)
                    continue
                began = time.perf_counter()
                self._time_cell(*cell, repeat)
                took[cell] = time.perf_counter() - began

    def _cells(self) -> Iterator[tuple[int, int]]:
        """Cells, one of each concurrency first."""
        for length in self.plan.lengths:
            for concurrency in self.plan.concurrencies:
                yield concurrency, length

    def _time_cell(self, concurrency: int, length: int, repeat: int) -> None:
        about = {"shape": self.shape, "concurrency": concurrency, "length": length, "repeat": repeat}
        found: dict[str, dict[str, Any]] = {}
        for name in ("high", "low") if repeat % 2 == 0 else ("low", "high"):
            engine = self.engines[name]
            try:
                words = words_for(engine, length)
                if repeat == 0:
                    burst(engine, concurrency, words, 2, f"warm {length}", None)
                seed = f"{length} {repeat}"
                found[name] = asdict(timed(engine, name, concurrency, words, self.plan.decode, seed, self.meter))
            except EpisodeError as error:  # memory, or a prompt that is too long
                self.results.add("calls", **about, failed=str(error))
                return
            self.results.add("calls", model=name, **about, **found[name])
        for name in ("high", "low"):
            self._cell(name, concurrency, length)["samples"].append(found[name])
        self.results.save(f"card-{self.shape}.json", self.card)

    def _cell(self, name: str, concurrency: int, length: int) -> dict[str, Any]:
        key = {"model": name, "concurrency": concurrency, "length": length}
        for cell in self.cells:
            if key.items() <= cell.items():
                return cell
        self.cells.append({**key, "samples": []})
        return self.cells[-1]

    def time_caches(self, budget: Budget) -> None:
        """Passes of a model that goes on at a text: one token each, the last turn, and the turns that it has missed.

        With one cache for both models, whichever takes over reads the last turn. With a cache each it reads all that it
        has missed. These are passes alone, without the choice of tokens: the device's part of a call.
        """
        held = max(self.plan.lengths)
        counts = [1, *(TURN * turns for turns in MISSED)]
        for concurrency in self.plan.concurrencies:
            if budget.left < 0:
                self.results.add("caches", shape=self.shape, skipped=concurrency)
                continue
            for name, engine in self.engines.items():
                seconds = self._passes(engine, concurrency, held, counts, budget)
                self.results.add(
                    "caches",
                    shape=self.shape,
                    model=name,
                    concurrency=concurrency,
                    held=held,
                    decode_pass=seconds[1],
                    one_cache=seconds.get(TURN),
                    own_caches={turns: seconds[TURN * turns] for turns in MISSED if TURN * turns in seconds},
                )

    @torch.inference_mode()
    def find_least_rows(self) -> None:
        """Rows from which on a row comes out the same in any pass: what deterministic mode pads to."""
        for name, engine in self.engines.items():
            self.results.add("rows", shape=self.shape, model=name, least=least_rows(engine.runs.model))

    def _passes(
        self, engine: Engine, concurrency: int, held: int, counts: Sequence[int], budget: Budget
    ) -> dict[int, float]:
        """Median seconds of a pass by the number of tokens that each sequence reads after ``held`` tokens; the first of
        ``counts`` at least.
        """
        runs = engine.runs
        caches = [runs.new_cache() for _ in range(concurrency)]
        for place, cache in enumerate(caches):
            runs.forward([Chunk(cache, _ids(held, place))])
        found: dict[int, float] = {}
        for count in counts:
            if found and budget.left < 0:
                break
            samples = []
            for repeat in range(_REPEATS + 1):
                chunks = [Chunk(cache, _ids(count, repeat + place)) for place, cache in enumerate(caches)]
                samples.append(seconds_of(self.plan.device, lambda chunks=chunks: runs.forward(chunks)))  # type: ignore[misc]
                for cache in caches:
                    cache.crop(held)
            found[count] = median(samples[1:])
        return found


def _expected(cell: tuple[int, int], took: Mapping[tuple[int, int], float]) -> float:
    """Seconds that a cell will take: what it took before, else by the root of its tokens as long as the last one."""
    if cell in took or not took:
        return took.get(cell, 0.0)
    last = list(took)[-1]
    return took[last] * sqrt(cell[0] * cell[1] / (last[0] * last[1]))


def _ids(count: int, seed: int) -> list[int]:
    """Tokens of a text, none of them special."""
    return [3 + (7 * place + 31 * seed) % 250 for place in range(count)]


def _endless_tokenizer() -> Any:
    """A tokenizer of bytes without a token that ends answers."""
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = None
    return tokenizer
