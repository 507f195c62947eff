"""What ``mixroute verify`` finds of clocks: honest ones hold, altered ones fail, by name."""

from __future__ import annotations

import json
import lzma
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.provenance import hardware_of
from harness.timing.measure import time_runs
from harness.timing.session import Settings
from harness.traces.clock import read_clock
from harness.traces.evidence import SELF_REPORTED
from harness.traces.pack import pack_run
from harness.traces.store import find_runs, read_episodes, read_meta
from harness.verify.clocks import CLOCKS, SESSIONS, ClockCheck, check_sessions
from harness.verify.copies import check_copies
from harness.verify.entries import verify_entries
from harness.verify.entry import FILES, verify_entry
from harness.verify.lock import Lock, LockedGroup, times_hash
from harness.verify.pools import Pools
from harness.verify.published_rows import check_files, check_seconds
from harness.verify.report import CheckResult
from tests.harness.verify.writer import of_router

Change = Callable[[dict[str, Any], list[dict[str, Any]]], None]


@pytest.fixture(scope="module")
def honest(writer_entries: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Entries of the four routers of ``writer_entries``, timed in one session."""
    folder = tmp_path_factory.mktemp("timed")
    shutil.copytree(writer_entries.parent / "runs", folder / "runs")
    time_runs(folder / "runs", Settings(3, 32, 2, 0, []), lambda line: None)
    for run in find_runs(folder / "runs"):
        pack_run(run, folder / "entries")
    return folder / "entries"


@pytest.fixture
def entries(honest: Path, tmp_path: Path) -> Path:
    shutil.copytree(honest, tmp_path / "entries")
    return tmp_path / "entries"


def alter(folder: Path, change: Change) -> None:
    meta, path = json.loads((folder / "clock.json").read_text()), folder / "clock.jsonl.xz"
    lines = [json.loads(line) for line in lzma.decompress(path.read_bytes()).splitlines()]
    change(meta, lines)
    (folder / "clock.json").write_text(json.dumps(meta))
    path.write_bytes(lzma.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))


def failed(results: list[CheckResult]) -> list[str]:
    return [result.check for result in results if result.status == "failed"]


def test_honest_clocks_hold(honest: Path, writer_pools: Pools) -> None:
    verdicts = verify_entries(find_runs(honest), pools=writer_pools)
    for verdict in verdicts:
        assert failed(verdict.results) == []
        assert {CLOCKS, SESSIONS} <= {result.check for result in verdict.results}
    assert all(not check_files(folder).failed for folder in find_runs(honest))


def test_seconds_without_what_says_how_they_were_measured_are_found(entries: Path) -> None:
    folder = of_router(entries, "always-low")
    (folder / "clock.json").unlink()
    assert "clock.json: it is missing beside clock.jsonl.xz" in check_files(folder).result().details[0]


def _long_step(meta: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    lines[0]["steps"][0][0] = lines[0]["wall"] + 1


def _long_call(meta: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    lines[0]["steps"][0][1][0][0] = lines[0]["steps"][0][0] + 1


def _no_machine(meta: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    meta["provenance"]["hardware"] = {}


def _fewer_calls(meta: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    lines[0]["steps"][0][1].append([0.1, 0.1])


def _slower_reference(meta: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    for one in meta["reference"].values():
        one[1] = [2 * value for value in one[1]]


ALTERED: dict[str, tuple[Change, str]] = {
    "steps longer than the episode": (_long_step, CLOCKS),
    "a call longer than its step": (_long_call, CLOCKS),
    "no machine": (_no_machine, CLOCKS),
    "calls that the trace has not": (_fewer_calls, FILES),
    "always-high slower than its own lines": (_slower_reference, CLOCKS),
}


def test_an_episode_that_an_error_ended_may_not_be_timed(entries: Path) -> None:
    folder = of_router(entries, "always-low")
    clock = read_clock(folder)
    assert clock is not None
    found = ClockCheck(read_meta(folder), clock)
    for place, episode in enumerate(read_episodes(folder)):
        found.episode(msgspec.structs.replace(episode, end="error") if place == 0 else episode)
    found.finish()
    assert "an error ended it" in found.check.result().details[0]


@pytest.mark.parametrize("name", ALTERED)
def test_an_altered_clock_fails(entries: Path, writer_pools: Pools, name: str) -> None:
    change, check = ALTERED[name]
    folder = of_router(entries, "always-high")
    alter(folder, change)
    assert failed(verify_entry(folder, pools=writer_pools).results) == [check]


def _another_load(meta: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    meta["concurrency"] = 64


def _in_another_session(factor: float) -> Change:
    """The row in a session of its own, whose always-high took ``factor`` times as long."""

    def change(meta: dict[str, Any], lines: list[dict[str, Any]]) -> None:
        meta["session"] = "f" * 16
        for one in meta["reference"].values():
            one[1] = [factor * value for value in one[1]]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_slower_reference, "the seconds of always-high are not those of its own clock"),
        (_another_load, "its session was measured otherwise"),
        (_in_another_session(100), "a token of 'high' takes"),
        (_in_another_session(0.01), ""),
    ],
)
def test_a_row_must_say_of_its_session_what_always_high_says(entries: Path, change: Change, message: str) -> None:
    folder = of_router(entries, "random")
    alter(folder, change)
    found = check_sessions(find_runs(entries))
    problems = {one.name: check.result().details for one, check in found.items() if check.failed}
    assert set(problems) == ({folder.name} if message else set())
    assert all(message in details[0] for details in problems.values())


def test_the_clock_of_another_entry_is_a_copy(entries: Path) -> None:
    low, other = of_router(entries, "always-low"), of_router(entries, "random")
    assert not any(check.failed for check in check_copies([low, other]).values())
    shutil.copy(low / "clock.jsonl.xz", other)
    found = check_copies([low, other])[other].result()
    assert "it shares the measured times of episodes" in found.details[0]


def test_seconds_beside_an_unpublished_always_high_are_self_reported(entries: Path, writer_pools: Pools) -> None:
    folder, high = of_router(entries, "always-low"), of_router(entries, "always-high")
    verdict = verify_entry(folder, pools=writer_pools)
    reason = check_seconds(folder, verdict, Lock([], []), {read_meta(folder).hash: folder}).reason or ""
    assert SELF_REPORTED in reason
    clock = read_clock(folder)
    assert clock is not None
    assert clock.meta.reference_runs == [read_meta(high).hash]


def test_seconds_a_token_are_those_of_the_clock(entries: Path, writer_pools: Pools) -> None:
    folder = of_router(entries, "always-low")
    before, times = verify_entry(folder, pools=writer_pools).rates["low"], times_hash(folder)

    def twice(meta: dict[str, Any], lines: list[dict[str, Any]]) -> None:
        for line in lines:
            line["wall"] *= 2
            line["steps"] = [[2 * wall, [[2 * a, 2 * b] for a, b in calls]] for wall, calls in line["steps"]]

    alter(folder, twice)
    assert verify_entry(folder, pools=writer_pools).rates["low"] == pytest.approx(2 * before)
    assert times_hash(folder) != times


def test_a_reference_that_is_too_slow_for_its_machine_fails(entries: Path, writer_pools: Pools) -> None:
    """Where the row itself never asks ``high``."""
    folders = find_runs(entries)
    folder = of_router(entries, "always-low")
    published = {read_meta(one).hash: one for one in folders}
    meta, clock = read_meta(folder), read_clock(folder)
    assert clock is not None
    high = of_router(entries, "always-high")
    known = {
        model: rate for one in (high, folder) for model, rate in verify_entry(one, pools=writer_pools).rates.items()
    }
    group = LockedGroup(
        group=meta.group,
        limit=meta.limit,
        task=meta.task,
        split=meta.split,
        pool=meta.pool,
        suites=[],
        conditions={},
        models={},
        instances=3,
        instances_sha256="",
        references={},
        rates={hardware_of(clock.meta.provenance): known},
    )
    lock = Lock([group], [])
    honest = check_seconds(folder, verify_entry(folder, pools=writer_pools), lock, published)
    assert (honest.failed, honest.reason) == (False, None)
    alter(folder, _in_another_session(100))
    found = check_seconds(folder, verify_entry(folder, pools=writer_pools), lock, published).result()
    assert "its always-high takes" in found.details[0]
