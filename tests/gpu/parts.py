"""The parts in the order of their worth, each within its share of the time that is left."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from tests.gpu.correct import check_contract, check_layers
from tests.gpu.existing import can_run, run_existing_tests
from tests.gpu.machine import missing, provenance_of_run
from tests.gpu.products import Plan, time_products
from tests.gpu.results import Budget, Results
from tests.gpu.summary import print_summary
from tests.gpu.timing import Pair

_SECONDS_OF_TESTS = 90


def run_parts(out: Path, shapes: Sequence[str], plan: Plan, seconds: float) -> int:
    """Run all parts; 1 if one of them failed.

    Args:
        out: Folder of the results.
        shapes: Shapes to time.
        plan: What to measure of each.
        seconds: For all parts together.
    """
    if plan.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("no CUDA device: give --device cpu --shapes tiny to try the script")
    results, whole = Results(out), Budget(seconds)
    results.add("machine", missing=sorted(missing()), **provenance_of_run())
    check_layers(results, plan.device, whole.share(0.05))
    check_contract(results, plan.device, whole.share(0.12))
    timing = Budget(whole.left - (_SECONDS_OF_TESTS if can_run() else 0))
    for place, shape in enumerate(shapes):
        _time_shape(results, shape, plan, timing.share(1 / (len(shapes) - place)))
    run_existing_tests(results, whole)
    print_summary(results)
    return int(any(record.get("passed") is False or "failed" in record for record in results.records))


def _time_shape(results: Results, shape: str, plan: Plan, budget: Budget) -> None:
    results.guarded("products", partial(time_products, results, shape, plan, budget.share(0.1)), shape=shape)
    pairs: list[Pair] = []
    if not results.guarded("load", lambda: pairs.append(Pair(results, shape, plan)), shape=shape):
        return
    pair = pairs.pop()
    try:
        results.guarded("calls", partial(pair.time_calls, budget.share(0.75)), shape=shape)
        results.guarded("caches", partial(pair.time_caches, budget), shape=shape)
        results.guarded("rows", pair.find_least_rows, shape=shape)
    finally:
        pair.close()
