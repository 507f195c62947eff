"""``mixroute run --plan``: the forecast of a suite, and its comparison with the actual usage."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from harness.plan.plan import Plan, plan_suite, settle
from harness.plan.show import print_plan
from harness.plan.usage import Price, Prices, Usage, load_prices, usage_of
from harness.suite import load_suite
from mixroute import MixrouteError
from tests.command import mixroute
from tests.harness.board.builders import Play, Run, write_run
from tests.harness.board.clocked import write_clocks

SUITE: dict[str, Any] = {
    "schema": 1,
    "name": "small",
    "mode": "throughput",
    "tasks": [{"task": "alfworld-gen", "split": "test", "limit": 4, "args": {"step_cap": 3}}],
    "routers": ["always-high", "always-low"],
}
PRICES = {"models": {name: {"input": 1.0, "cached": 0.1, "output": 3.0} for name in ("high", "low")}, "hour": 2.0}


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory, tiny_pool: Path) -> Path:
    """A folder with ``suite.yaml``, planned and then played for two of its four games."""
    folder = tmp_path_factory.mktemp("planned")
    (folder / "suite.yaml").write_text(yaml.safe_dump({**SUITE, "pool": str(tiny_pool)}))
    (folder / "prices.yaml").write_text(yaml.safe_dump(PRICES))
    two = ("run", "suite.yaml", "--out", "runs", "--limit", "2")
    shown = mixroute(*two, "--plan", "--prices", "prices.yaml", cwd=folder).stdout
    assert "no past episode of this task and pool; assumed: 3 steps (the cap)" in " ".join(shown.split())
    assert [path.name for path in (folder / "runs").iterdir()] == ["plan.json"]
    shown = mixroute(*two, cwd=folder).stdout
    assert "planned / actual" in shown
    return folder


def plan(folder: Path, prices: Prices | None = None, **changes: object) -> Plan:
    suite = load_suite(str(folder / "suite.yaml")).model_copy(update=changes)
    return plan_suite(suite, folder / "again", [folder / "runs"], None, prices or Prices())


def test_what_was_taken_stands_beside_what_was_planned(planned: Path) -> None:
    settled = settle(planned / "runs")
    assert settled is not None
    for run in settled.runs:
        assert run.actual is not None
        assert (run.expected.episodes, run.actual.episodes) == (2, 2)
        assert run.actual.steps == 6  # the tiny model solves nothing in three steps
        assert run.expected.steps >= run.actual.steps
        (model,) = run.actual.tokens
        seconds = run.actual.cost["seconds"]
        assert seconds is not None
        prefill, cached, decoded = run.actual.tokens[model]
        paid = (prefill + 0.1 * cached + 3 * decoded) / 1e6 + 2 * seconds / 3600
        assert run.actual_dollars == pytest.approx(paid)


def test_seconds_that_were_timed_come_before_those_of_play(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", Run("always-high", {"a": Play("h"), "b": Play("hh")}))
    assert usage_of(folder).cost["seconds"] == pytest.approx(3 * 0.5)
    write_clocks([folder], factors=(9.0, 11.0), without=["b"])
    assert usage_of(folder).cost["seconds"] == pytest.approx(10 * 0.5 + 2 * 0.5)


def test_a_later_plan_rests_on_what_was_taken(planned: Path) -> None:
    settled = settle(planned / "runs")
    assert settled is not None
    high, low = plan(planned).runs
    taken = settled.runs[0].actual
    assert taken is not None
    assert high.expected.tokens == taken.times(2).tokens
    assert high.expected.cost == pytest.approx(taken.times(2).cost)
    assert high.expected.cost["weight_bytes"]
    assert high.basis == "2 past episodes of the same router and instances' split"
    assert low.expected.tokens.keys() == {"low"}


def test_workers_share_the_seconds(planned: Path) -> None:
    found = plan(planned)
    whole = sum(run.expected.cost["seconds"] or 0.0 for run in found.runs)
    assert whole > 0
    console = Console(width=200, record=True, quiet=False, file=StringIO())
    print_plan(found, console, workers=4)
    assert f"4 workers: {whole / 4:,.0f} s each" in console.export_text()
    print_plan(found, console)
    assert "workers" not in console.export_text()


def test_what_is_nearest_is_taken_and_named(planned: Path) -> None:
    suite = load_suite(str(planned / "suite.yaml"))
    routers = [suite.routers[0].model_copy(update={"router": "first-k", "args": {"k": 2}})]
    (run,) = plan(planned, routers=routers).runs
    assert run.basis == "4 past episodes of other routers on the same split"
    tasks = [suite.tasks[0].model_copy(update={"split": "dev"})]
    assert "on another split" in plan(planned, tasks=tasks).runs[0].basis


def test_finished_episodes_are_not_planned_again(planned: Path) -> None:
    suite = load_suite(str(planned / "suite.yaml"))
    two = suite.model_copy(update={"tasks": [suite.tasks[0].model_copy(update={"limit": 2})]})
    again = plan_suite(two, planned / "runs", [], None, Prices())
    assert [(run.finished, run.expected.episodes) for run in again.runs] == [(2, 0), (2, 0)]


def test_nothing_planned_nothing_settled(tmp_path: Path) -> None:
    assert settle(tmp_path) is None
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(MixrouteError, match="delete it"):
        settle(tmp_path)
    (tmp_path / "plan.json").write_text('{"schema": 1, "suite": "old", "seconds": "", "prices": {}, "runs": []}')
    assert settle(tmp_path) is None


def test_dollars_need_every_figure() -> None:
    usage = Usage(1, 1, {"high": (1e6, 1e6, 1e6)}, {"seconds": None})
    table = Prices(models={"high": Price(input=1, cached=0.5, output=2)})
    assert usage.dollars(table) == pytest.approx(3.5)
    assert usage.dollars(Prices()) is None
    assert usage.dollars(table.model_copy(update={"hour": 1.0})) is None
    assert (usage + Usage(tokens={"low": (1.0, 0.0, 0.0)})).dollars(table) is None


def test_a_wrong_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text("models: {high: {input: -1, cached: 0, output: 0}}")
    with pytest.raises(MixrouteError, match=r"models.high.input' = -1"):
        load_prices(tmp_path / "prices.yaml")
