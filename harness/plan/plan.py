"""From a suite to its plan, and from a finished suite to plan against actual."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from harness.config import check
from harness.contracts import Calibrated, Task
from harness.data import HIGH
from harness.engine.identity import run_config
from harness.engine.opening import OpenTask, open_instances
from harness.engine.shard import Shard
from harness.files import write_atomically
from harness.json_files import Schema, convert_plain, read_json
from harness.plan.past import Past
from harness.plan.usage import Prices, Total, Usage
from harness.plugins import open_router
from harness.pool import Pool, load_pool
from harness.records import Count
from harness.speed.rates import Rates
from harness.suite import RouterEntry, RunConfig, Suite
from harness.text import quoted
from harness.traces.cost import COST_MODELS
from harness.traces.store import CALIBRATION

FILE = "plan.json"
SCHEMA = 2

_CHARACTERS = 4  # characters of English a token, where no tokenizer is at hand
_OBSERVED = 64  # tokens that a step's observation adds, for want of a past episode


class PlannedRun(msgspec.Struct, frozen=True):
    """One run: what is to be played, its expected usage, and its actual one."""

    what: str
    config: dict[str, Any]
    instances: Count
    finished: Count
    """Episodes that were on disk already; they are not played again and not in ``expected``."""
    basis: str
    """The past episodes or assumptions that ``expected`` rests on."""
    expected: Usage
    dollars: Total | None
    before: Usage
    """Usage of the finished episodes."""
    actual: Usage | None = None
    actual_dollars: Total | None = None


class Plan(msgspec.Struct, frozen=True):
    """Forecast of a suite, written as ``plan.json`` to its folder."""

    schema: int
    suite: str
    seconds: str
    """Source of the seconds."""
    prices: dict[str, Any]
    runs: list[PlannedRun]


def plan_suite(
    suite: Suite, out: Path, past_in: Iterable[Path], rates: Rates | None, prices: Prices, shard: Shard | None = None
) -> Plan:
    """Forecast of the usage of a suite's runs, written to ``out/plan.json``.

    Args:
        suite: The suite to be run.
        out: Folder of its runs.
        past_in: Folders of runs and entries to learn from; ``out`` is one of them.
        rates: Seconds of calls; without them, those that past runs measured.
        prices: Prices of tokens and hours.
        shard: The share of each run's instances to be played; all if not given.

    Raises:
        MixrouteError: unknown task, router or pool, missing data, or a folder that cannot be read.
    """
    past = Past([out, *past_in], rates)
    pool = load_pool(suite.pool)
    answering = HIGH if HIGH in pool.models else next(iter(pool.models))
    runs = []
    for what, config, opened, planned in _runs(suite, pool, shard):
        basis = past.basis(config)
        done = past.finished(out, config)
        left = max(0, planned - round(done.episodes))
        if basis is None:
            each, description = _assumed(opened.task, opened, answering)
        else:
            each, description = basis.each, basis.description
        expected = each.times(left)
        runs.append(
            PlannedRun(
                what=what,
                config=config.model_dump(),
                instances=planned,
                finished=round(done.episodes),
                basis=description,
                expected=expected,
                dollars=expected.dollars(prices),
                before=done,
            )
        )
    seconds = (
        "of `mixroute time`, else measured in past runs, whatever machine and load those had"
        if rates is None
        else rates.note()
    )
    plan = Plan(SCHEMA, suite.name, seconds, prices.model_dump(), runs)
    _save(out, plan)
    return plan


def settle(out: Path) -> Plan | None:
    """Put the actual usage beside the expected one; None where ``out`` has no plan, or one of another version.

    Raises:
        MixrouteError: the plan or a run cannot be read.
    """
    path = out / FILE
    if not path.exists():
        return None
    fix = f"it is no plan of schema {SCHEMA}, or damaged: delete it"
    plain: object = read_json(path, Any, fix)
    if convert_plain(plain, Schema, str(path), fix).schema != SCHEMA:
        return None
    plan: Plan = convert_plain(plain, Plan, str(path), fix)
    past = Past([out], None)
    prices = check(plan.prices, Prices, f"{path}: prices")
    runs = []
    for run in plan.runs:
        config = check(run.config, RunConfig, f"{path}: config of {quoted(run.what)}")
        now = past.finished(out, config)
        actual = now + run.before.times(-1)
        runs.append(msgspec.structs.replace(run, actual=actual, actual_dollars=actual.dollars(prices)))
    settled = msgspec.structs.replace(plan, runs=runs)
    _save(out, settled)
    return settled


def _runs(suite: Suite, pool: Pool, shard: Shard | None) -> Iterator[tuple[str, RunConfig, OpenTask, int]]:
    """The suite's runs, and those on its development instances that thresholds are chosen on, each once; with the
    number of instances to play.
    """
    probed: set[str] = set()
    for entry in suite.tasks:
        opened = open_instances(entry)
        share = len(opened.instances if shard is None else shard.share(opened.instances))
        for router in suite.routers_of(entry.task):
            made = open_router(router.router, **router.args)
            for seed in router.seeds or suite.seeds:
                if isinstance(made, Calibrated) and entry.calibration is not None:
                    shown = entry.model_copy(update={**entry.calibration.model_dump(), "calibration": None})
                    development = open_instances(shown)
                    config = run_config(suite, pool, development.entry, RouterEntry(router=made.probe), seed)
                    what = f"{entry.task}/{shown.split} {made.probe} ({CALIBRATION})"
                    if config.model_dump_json() not in probed:
                        probed.add(config.model_dump_json())
                        yield what, config, development, len(development.instances)
                config = run_config(suite, pool, opened.entry, router, seed)
                yield f"{entry.task}/{entry.split} {router.name}", config, opened, share


def _assumed(task: Task, opened: OpenTask, model: str) -> tuple[Usage, str]:
    """The most that an episode could use, with one call a step, and the assumptions: for want of a past episode."""
    environment = task.open(opened.instances[0])
    try:
        prompt = task.prompt([], environment.reset())
    finally:
        environment.close()
    first = sum(len(message.content) for message in prompt.messages) / _CHARACTERS
    steps, added = task.step_cap, task.max_tokens + _OBSERVED
    computed = first + (steps - 1) * added
    cached = sum(first + step * added for step in range(steps - 1))
    assumptions = (
        f"no past episode of this task and pool; assumed: {steps} steps (the cap), each {task.max_tokens} tokens by "
        f"'{model}' and {_OBSERVED} tokens observed, {_CHARACTERS} characters a token"
    )
    tokens = {model: (computed, cached, float(steps * task.max_tokens))}
    return Usage(1, steps, tokens, dict.fromkeys(COST_MODELS)), assumptions


def _save(out: Path, plan: Plan) -> None:
    write_atomically(out / FILE, msgspec.json.format(msgspec.json.encode(plan), indent=1) + b"\n")
