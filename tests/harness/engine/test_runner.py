"""How a suite is played: routers are built once, and the runner hands back the runs that were asked for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from harness.engine.runner import SuiteRunner
from harness.engine.shard import Shard
from harness.records import Episode
from harness.suite import Suite
from harness.traces.contamination import instance_key
from harness.traces.store import find_runs, read_episodes
from mixroute import Step, StepRouter, register_router

BUILT: list[tuple[str, float]] = []


@register_router("test-counted")
class Counted(StepRouter):
    def __init__(self, k: float = 1) -> None:
        BUILT.append(("test-counted", k))

    def choose(self, step: Step) -> str:
        return "low"


@register_router("test-counted-calibrated")
class CountedCalibrated(StepRouter):
    probe = "test-counted"

    def __init__(self, k: float = 0) -> None:
        self._k = k
        BUILT.append(("test-counted-calibrated", k))

    def fit(self, episodes: Iterable[Episode]) -> Mapping[str, Any]:
        return {} if self._k else {"k": float(len(list(episodes)))}

    def choose(self, step: Step) -> str:
        return "low"


@register_router("test-counted-trained")
class CountedTrained(Counted):
    """Was trained on the games that the other suite calibrates on first."""

    games: tuple[str, ...] = ()

    def trained_on(self) -> Iterable[str]:
        return [instance_key("arith-gen", game) for game in self.games]


@pytest.fixture
def built() -> Iterator[list[tuple[str, float]]]:
    BUILT.clear()
    yield BUILT
    BUILT.clear()


def suite(pool: Path, *routers: object, **changes: Any) -> Suite:
    task = {"task": "arith-gen", "split": "test", "limit": 2}
    content = {"schema": 1, "name": "counted", "pool": str(pool), "tasks": [task], "routers": list(routers)}
    return Suite.model_validate(content | changes)


def test_a_router_is_built_once_for_all_its_runs(
    tmp_path: Path, tiny_pool: Path, built: list[tuple[str, float]]
) -> None:
    routers = ["test-counted", {"router": "test-counted", "args": {"k": 2}}]
    runs = SuiteRunner(suite(tiny_pool, *routers, seeds=[0, 1]), tmp_path, Console(quiet=True)).run()
    assert len(runs) == 4
    assert sorted(built) == [("test-counted", 1), ("test-counted", 2)]


def test_a_calibrated_router_is_built_once_more_with_what_was_chosen(
    tmp_path: Path, tiny_pool: Path, built: list[tuple[str, float]]
) -> None:
    task = {"task": "arith-gen", "split": "test", "limit": 2, "calibration": {"split": "dev", "limit": 3}}
    one = suite(tiny_pool, "test-counted-calibrated", tasks=[task], seeds=[0, 1])
    runs = SuiteRunner(one, tmp_path, Console(quiet=True)).run()
    assert [run.meta.fitted for run in runs] == [{"k": 3.0}] * 2
    assert sorted(built) == [("test-counted", 1), ("test-counted-calibrated", 0), ("test-counted-calibrated", 3.0)]


def test_thresholds_are_chosen_on_the_games_of_this_suite_alone(
    tmp_path: Path, tiny_pool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another suite has calibrated in the same folder on a game that a router of this one was trained on."""
    task = {"task": "arith-gen", "split": "test", "limit": 2, "calibration": {"split": "dev", "limit": 3}}
    SuiteRunner(suite(tiny_pool, "test-counted-calibrated", tasks=[task]), tmp_path, Console(quiet=True)).run()
    (calibration,) = find_runs(tmp_path / "calibration")
    games = [episode.instance for episode in read_episodes(calibration)]
    monkeypatch.setattr(CountedTrained, "games", tuple(games[:1]))
    both = suite(tiny_pool, "test-counted-calibrated", "test-counted-trained", tasks=[task], seeds=[0])
    run, _ = SuiteRunner(both, tmp_path, Console(quiet=True)).run()
    assert len(list(read_episodes(calibration))) == 4
    assert run.meta.fitted == {"k": 3.0}


def test_the_runs_of_this_suite_alone_are_handed_back(tmp_path: Path, tiny_pool: Path) -> None:
    both = suite(tiny_pool, "always-low", "always-high", seeds=[0, 1])
    SuiteRunner(both, tmp_path, Console(quiet=True)).run()
    again = SuiteRunner(suite(tiny_pool, "always-low", seeds=[1]), tmp_path, Console(quiet=True)).run()
    ((run,), seen) = again, {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert len(seen) == 4
    assert (run.router.router, run.meta.seed) == ("always-low", 1)
    assert [episode.instance for episode in run.episodes()] == [instance.id for instance in run.opened.instances]


def test_a_run_that_goes_on_on_another_machine_says_so(
    tmp_path: Path, tiny_pool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = SuiteRunner(suite(tiny_pool, "always-low"), tmp_path, Console(quiet=True), shard=Shard(1, 2))
    (run,) = first.run()
    path = run.folder / "run.json"
    told = json.loads(path.read_text())
    told["provenance"]["hardware"]["cpu"] = "another"
    path.write_text(json.dumps(told))
    first.run()  # nothing is missing
    assert "goes on with" not in caplog.text
    SuiteRunner(suite(tiny_pool, "always-low"), tmp_path, Console(quiet=True)).run()
    assert "was begun with hardware.cpu 'another' and goes on with" in caplog.text
