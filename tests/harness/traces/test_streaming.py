"""A trace is read and written line by line, however long it is, and a finished run is recognised without reading it."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec import structs
from msgspec.json import encode

from harness.board.page import write_traces
from harness.integrations.inspect_log import export_run
from harness.records import CallRecord, CallTiming, Episode, EpisodeTiming, StepRecord, StepTiming
from harness.traces.contamination import write_seen
from harness.traces.index import INDEX
from harness.traces.store import EPISODES, TIMINGS, TraceWriter, read_episodes, read_timed
from harness.verify.questions import compare_answers
from tests.harness.traces.test_store import episode, meta, timing, write

CARD = {"model": "high", "weight_bytes": 2, "parameters": 1, "bits": 16.0, "fingerprint": "f", "details": {}}


def long_run(folder: Path, count: int) -> Path:
    """A finished run of so many episodes, 30 kB each, that are all different."""
    names = [f"{number:04}" for number in range(count)]
    settings = {"mode": "deterministic", "temperature": 0, "task_args": {}, "router_args": {}}
    writer = TraceWriter(folder, meta(instances=names, config=settings, models={"high": CARD}))
    for name in names:
        calls = [
            CallRecord("high", 9, 0, 1, 1, "length", False, f"{name} {step}", [-int(name) - step / 64], [0.5], [0.25])
            for step in range(30)
        ]
        steps = [
            StepRecord(f"{name} {call.text} " * 60, [], [call], call.text, "a", None, 0.0, "high") for call in calls
        ]
        times = [StepTiming(0.0, 0.0, [CallTiming(0.0, 0.1, 0.2, 0.3)]) for _ in steps]
        writer.append(structs.replace(episode(name), steps=steps), EpisodeTiming(name, 0, 0.1, times))
    writer.close()
    write_seen(folder, [])
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return long_run(tmp_path_factory.mktemp("long") / "r", 300)


def read_all(run: Path, out: Path) -> None:
    assert sum(one is not None for _, one in read_timed(run)) == 300


def resume(run: Path, out: Path) -> None:
    (run / INDEX).unlink(missing_ok=True)
    writer = TraceWriter(run, meta(instances=[]))
    assert len(writer.episodes) == 300
    writer.close()


def compare(run: Path, out: Path) -> None:
    checks, counts = compare_answers([run])
    assert not checks[run].failed
    assert counts.calls == 9000


READERS: list[Callable[[Path, Path], object]] = [
    read_all,
    resume,
    compare,
    export_run,
    lambda run, out: write_traces([run], out),
]


@pytest.mark.parametrize("reader", READERS, ids=["read", "resume", "compare", "export", "page"])
def test_no_whole_trace_is_in_memory(run: Path, tmp_path: Path, reader: Callable[[Path, Path], object]) -> None:
    size = (run / EPISODES).stat().st_size
    reader(run, tmp_path / "first")  # what is kept for good, such as compiled patterns
    tracemalloc.start()
    try:
        reader(run, tmp_path / "out")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 9_000_000
    assert most < size / 3


def test_a_finished_run_is_recognised_by_its_index(tmp_path: Path) -> None:
    write(tmp_path, episode("0"), episode("1"))
    path = tmp_path / EPISODES
    state = path.stat()
    path.write_bytes(b"?" * (state.st_size - 1) + b"\n")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert set(TraceWriter(tmp_path, meta()).episodes) == {"0", "1"}  # the lines were not read


@pytest.mark.parametrize("edit", ["killed", "edited", "gone", "damaged", "of another run"])
def test_an_index_that_does_not_fit_is_made_anew(tmp_path: Path, edit: str) -> None:
    write(tmp_path, episode("0"), episode("1"))
    index = tmp_path / INDEX
    expected = {"0", "1"}
    if edit == "killed":
        TraceWriter(tmp_path, meta()).append(episode("2"), timing("2"))  # and is not closed
        expected = {"0", "1", "2"}
    elif edit == "edited":
        path = tmp_path / EPISODES
        path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
        expected = {"0"}
    elif edit == "gone":
        index.unlink()
    elif edit == "damaged":
        index.write_bytes(index.read_bytes()[:-9])
    else:
        index.write_bytes(index.read_bytes().replace(b'"run":"h"', b'"run":"x"'))
    writer = TraceWriter(tmp_path, meta())
    assert set(writer.episodes) == expected
    writer.close()
    assert [one.instance for one in read_episodes(tmp_path)] == sorted(expected)
    assert [one.instance for one, _ in read_timed(tmp_path)] == sorted(expected)


def pairs(folder: Path) -> Iterator[tuple[str, float | None]]:
    for one, times in read_timed(folder):
        yield one.instance, None if times is None else times.reset


def test_each_episode_gets_its_last_times_in_any_order(tmp_path: Path) -> None:
    write(tmp_path, episode("0"), episode("1"), episode("2"))
    lines = [structs.replace(timing(name), reset=reset) for name, reset in (("2", 1), ("0", 2), ("x", 3), ("0", 4))]
    (tmp_path / TIMINGS).write_bytes(b"".join(encode(line) + b"\n" for line in lines))
    assert list(pairs(tmp_path)) == [("0", 4), ("1", None), ("2", 1)]


def test_a_name_with_any_character_is_indexed(tmp_path: Path) -> None:
    names = ['"quoted"', "é", "b c", "\\"]
    writer = TraceWriter(tmp_path, meta(instances=names))
    for name in names:
        writer.append(Episode(2, "h", name, "k", 0, 0.0, False, "done", None, [], "end"), timing(name))
    writer.close()
    assert set(TraceWriter(tmp_path, meta(instances=names)).episodes) == set(names)
    assert [one.instance for one in read_episodes(tmp_path)] == sorted(names)
