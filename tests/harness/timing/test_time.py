"""``mixroute time`` from the command line, on the tiny model: what is replayed, kept, gone on with and refused."""

from __future__ import annotations

import json
import shutil
import signal
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from harness.board.table import build_board
from harness.engine.asked import questions_of
from harness.engine.runner import SuiteRunner
from harness.errors import MixrouteError
from harness.plugins import open_router, open_task
from harness.records import Episode
from harness.suite import load_suite
from harness.timing.measure import time_runs
from harness.timing.session import Settings, draw_session
from harness.traces.clock import CLOCK, LINES, Clock, read_clock
from harness.traces.pack import pack_run
from harness.traces.store import EPISODES, find_runs, read_episodes, read_meta
from tests.command import PATIENCE, mixroute, start, wait_until
from tests.harness.verify.writer import save_pool
from tests.small_suite import write_suite

BOTH = '''
import asyncio
from mixroute import Completion, Step

class Both:
    """Asks both models at once, and takes what low says."""

    granularity = "step"

    async def act(self, step: Step) -> Completion:
        _, low = await asyncio.gather(step.ask("high"), step.ask("low"))
        return low
'''
BY_TOKEN = {"router": "token-entropy", "label": "by token", "args": {"threshold": 5.53, "chunk": 4}}
RANDOM = {"router": "random", "label": "random", "args": {"p": 0.5}, "seeds": [0, 1, 2]}


def play(folder: Path, pool: Path, routers: list[Any], **changes: Any) -> Path:
    """Play four games of three steps; returns the folder of the runs."""
    task = {"task": "alfworld-gen", "split": "test", "limit": 4, "args": {"step_cap": 3}}
    suite = write_suite(folder, pool, tasks=[task], routers=routers, **changes)
    SuiteRunner(load_suite(str(suite)), folder / "runs", Console(quiet=True)).run()
    return folder / "runs"


def measure(
    runs: Path, *, concurrency: int = 2, episodes: int = 32, passes: int = 2, only: list[str] | None = None
) -> int:
    """Time runs; returns how many blocks were replayed."""
    lines: list[str] = []
    time_runs(runs, Settings(concurrency, episodes, passes, 0, only or []), lines.append)
    return len(lines)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pool(tmp_path_factory.mktemp("pool"))


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, pool: Path) -> Path:
    """A folder with runs in ``runs`` that were not timed, also of routers that draw, ask within answers, or at once."""
    folder = tmp_path_factory.mktemp("played")
    (folder / "both.py").write_text(BOTH)
    both = {"router": str(folder / "both.py:Both"), "label": "both"}
    play(folder, pool, ["always-high", "always-low", RANDOM, BY_TOKEN, both])
    return folder


@pytest.fixture(scope="module")
def timed(played: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, timed."""
    folder = tmp_path_factory.mktemp("timed")
    shutil.copytree(played / "runs", folder / "runs")
    assert measure(folder / "runs") == 5 * 2 * 2
    return folder


def clocks(runs: Path) -> dict[Path, Clock]:
    return {folder: clock for folder in find_runs(runs) if (clock := read_clock(folder))}


def structure(runs: Path) -> dict[str, Any]:
    """All of the clocks that does not depend on the machine."""
    return {
        folder.name: (
            {name: getattr(clock.meta, name) for name in ("run", "passes", "seed", "instances", "concurrency")},
            {name: one.steps for name, one in clock.meta.reference.items()},
            [
                (line.instance, line.number, [len(step.calls) for step in line.steps])
                for lines in clock.lines.values()
                for line in lines
            ],
        )
        for folder, clock in clocks(runs).items()
    }


def test_every_row_is_timed_on_the_same_instances(timed: Path) -> None:
    instances: defaultdict[str, list[str]] = defaultdict(list)
    found = clocks(timed / "runs")
    for folder, clock in found.items():
        instances[read_meta(folder).label] += clock.meta.instances
        episodes = {episode.instance: episode for episode in read_episodes(folder)}
        for instance, lines in clock.lines.items():
            shape = [len(step.calls) for step in episodes[instance].steps]
            assert [[len(step.calls) for step in line.steps] for line in lines] == [shape, shape]
            assert all(line.wall >= step.wall > 0 for line in lines for step in line.steps)
    assert len(instances) == 5
    assert {tuple(sorted(several)) for several in instances.values()} == {tuple(sorted(instances["always-high"]))}
    assert len(instances["random"]) == 4  # over its seeds, each instance once
    assert len({clock.meta.session for clock in found.values()}) == 1
    assert not list((timed / "runs").glob("time.json*"))


def test_the_board_has_seconds_and_latency_of_every_row(timed: Path) -> None:
    rows = {row.label: row for row in build_board(find_runs(timed / "runs")).rows}
    assert rows["always-high"].cost["seconds"] == 1.0
    for row in rows.values():
        assert (row.cost["seconds"] or 0) > 0
        assert row.clock is not None
        assert len(row.clock.episode_seconds) == 2
        assert 0 < row.clock.step.p50 <= row.clock.step.p99
        assert 1 <= row.clock.load <= 2
        assert row.clock.cpu > 0
    (folder, clock), *_ = clocks(timed / "runs").items()
    name = f"{folder.name}/{clock.meta.instances[0]}"
    assert "latency at 2 episodes at once" in mixroute("show", name, cwd=timed).stdout


def test_calls_that_began_together_are_asked_together(played: Path) -> None:
    """And those of a router within answers go on from what was there."""
    task = open_task("alfworld-gen", split="test", step_cap=3)
    runs = {read_meta(folder).label: folder for folder in find_runs(played / "runs")}

    def asked(label: str, router: str, **args: Any) -> list[Any]:
        episodes: list[Episode] = list(read_episodes(runs[label]))
        opened = open_router(router, **args)
        return [step for one in episodes for step in questions_of(one, task, opened, ["high", "low"], 0.0)]

    assert {tuple(one.after for one in step) for step in asked("both", str(played / "both.py:Both"))} == {(0, 0)}
    several = [step for step in asked("by token", "token-entropy", threshold=5.53, chunk=4) if len(step) > 1]
    assert all([one.after for one in step] == list(range(len(step))) for step in several)
    assert any(one.request.continue_from for step in several for one in step)


def test_a_session_that_was_killed_goes_on(timed: Path, played: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(played / "runs", runs)
    process = start("time", "runs", "--concurrency", "2", cwd=tmp_path)
    wait_until(lambda: (runs / "time.jsonl").exists() and (runs / "time.jsonl").read_bytes().count(b"\n") >= 3, process)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    kept = (runs / "time.jsonl").read_bytes()
    kept = kept[: kept.rindex(b"\n") + 1]
    session = json.loads((runs / "time.json").read_text())["session"]
    assert clocks(runs) == {}  # a session that is not over shows nothing
    with pytest.raises(MixrouteError, match=r"time\.json is of a session with other options"):
        measure(runs, concurrency=4)
    done = mixroute("time", "runs", "--concurrency", "2", cwd=tmp_path)
    assert done.stderr.count(": pass ") + kept.count(b"\n") == 5 * 2 * 2
    assert "relative" in done.stdout
    assert "seconds and latency are those of `mixroute time`" in " ".join(done.stdout.split())
    assert structure(runs) == structure(timed / "runs")
    assert {clock.meta.session for clock in clocks(runs).values()} == {session}
    first = json.loads(kept.splitlines()[0])["measured"]["episodes"][0]
    lines = [line for path in runs.glob(f"*/{LINES}") for line in map(json.loads, path.read_text().splitlines())]
    assert first in lines  # what was measured before was kept


def test_a_row_that_is_added_later_has_an_always_high_of_its_own(timed: Path, pool: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(timed / "runs", runs)
    with pytest.raises(MixrouteError, match=r"runs has no finished row without a clock: --only ROW"):
        measure(runs)
    before = {path: path.read_bytes() for path in runs.glob(f"*/{CLOCK}")}
    play(tmp_path, pool, ["stuck"])
    assert measure(runs, passes=1) == 2 * 2  # always-high beside it
    assert {path: path.read_bytes() for path in before} == before
    (added,) = set(runs.glob(f"*/{CLOCK}")) - set(before)
    own = json.loads(added.read_text())
    high = next(json.loads(path.read_text()) for path in before if "always-high" in path.parent.name)
    assert own["session"] != high["session"]
    assert own["reference_runs"] == [high["run"]]
    assert own["reference"].keys() == high["reference"].keys()
    (stuck,) = [row for row in build_board(find_runs(runs)).rows if row.label == "stuck"]
    assert (stuck.cost["seconds"] or 0) > 0
    assert any("rows of several sessions" in note for note in stuck.notes)
    assert measure(runs, passes=1, only=["stuck"]) == 2 * 2
    assert json.loads(added.read_text())["session"] != own["session"]


@pytest.mark.parametrize("changes", [{"temperature": 0.7}, {"mode": "throughput"}], ids=str)
def test_drawn_answers_and_other_modes_are_replayed(tmp_path: Path, pool: Path, changes: dict[str, Any]) -> None:
    runs = play(tmp_path, pool, ["always-high", BY_TOKEN], **changes)
    measure(runs, concurrency=4, episodes=3, passes=1)
    assert [len(clock.meta.instances) for clock in clocks(runs).values()] == [3, 3]
    assert all(clock.meta.missing <= 0.01 for clock in clocks(runs).values())


def _edited(runs: Path, label: str, change: Any) -> None:
    folder = next(one for one in find_runs(runs) if read_meta(one).label == label)
    episodes = [msgspec.to_builtins(episode) for episode in read_episodes(folder)]
    change(episodes)
    (folder / EPISODES).write_text("".join(json.dumps(episode) + "\n" for episode in episodes))


def _longer_prompt(episodes: list[Any]) -> None:
    episodes[0]["steps"][1]["calls"][0]["prompt_tokens"] += 5


def _error(episodes: list[Any]) -> None:
    for episode in episodes:
        episode |= {"end": "error", "error": "boom", "success": False}


REFUSED = {
    "another prompt": ("always-low", _longer_prompt, "cannot be replayed: it takes"),
    "errors": ("always-low", _error, "row 'always-low' has no instance in common"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_replayed_is_refused_by_name(played: Path, tmp_path: Path, name: str) -> None:
    label, change, message = REFUSED[name]
    shutil.copytree(played / "runs", tmp_path / "runs")
    _edited(tmp_path / "runs", label, change)
    with pytest.raises(MixrouteError, match=message) as raised:
        measure(tmp_path / "runs")
    assert "--only" in str(raised.value)
    assert clocks(tmp_path / "runs") == {}


def test_a_pool_that_shares_caches_otherwise_than_when_it_was_played_is_refused(played: Path, tmp_path: Path) -> None:
    shutil.copytree(played / "runs", tmp_path / "runs")
    for path in (tmp_path / "runs").glob("*/run.json"):
        meta = json.loads(path.read_text())
        meta["config"]["kv_cache"] = {"shared": ["high", "low"], "reread": 0}
        path.write_text(json.dumps(meta))
    with pytest.raises(MixrouteError, match="shared key-value caches otherwise than those of pool 'writer' do now"):
        measure(tmp_path / "runs")


def test_a_session_of_another_version_is_refused(played: Path, tmp_path: Path) -> None:
    shutil.copytree(played / "runs", tmp_path / "runs")
    session = draw_session(tmp_path / "runs", Settings(2, 32, 2, 0, []))
    (tmp_path / "runs" / "time.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(session, schema=99)))
    with pytest.raises(MixrouteError, match=r"time\.json has schema 99, not 1: delete it to begin another session"):
        measure(tmp_path / "runs")


def test_unknown_rows_are_refused(played: Path) -> None:
    with pytest.raises(MixrouteError, match="--only 'nobody' is no row of"):
        measure(played / "runs", only=["nobody"])


def test_entries_are_timed_as_the_runs_that_they_were_packed_from(timed: Path, played: Path, tmp_path: Path) -> None:
    entries = tmp_path / "entries"
    for run in find_runs(played / "runs"):
        pack_run(run, entries)
    measure(entries)
    assert structure(entries) == structure(timed / "runs")
    assert not list(entries.glob(f"*/{LINES}"))  # compressed, as all of an entry is
    for row in build_board(find_runs(entries)).rows:
        assert row.clock is not None
