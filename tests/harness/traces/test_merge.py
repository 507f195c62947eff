"""Merging: whatever the parts, the lines of the whole; and nothing is written where parts do not fit together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from harness.records import Episode
from harness.traces.contamination import write_seen
from harness.traces.merge import merge_runs
from harness.traces.store import EPISODES, TIMINGS, TraceWriter, read_episodes, read_meta, read_timings
from mixroute import MixrouteError
from tests.examples import examples
from tests.harness.traces.test_store import episode, meta, timing

HERE: dict[str, Any] = {
    "python": "3.11.7",
    "packages": {"torch": "2.13.0"},
    "code": "c",
    "hardware": {"cpu": "one", "cores": 2, "threads": 2, "gpus": []},
    "router": {"class": "R", "sha256": "s"},
}


def failed(instance: str, error: str = "it broke") -> Episode:
    return structs.replace(episode(instance), end="error", error=error, steps=[])


def part(root: Path, *episodes: Episode, place: str = "", seen: tuple[str, ...] = (), **changes: Any) -> Path:
    """A folder of runs with one run, which has these episodes."""
    writer = TraceWriter(root / place / "r", meta(**{"provenance": HERE, **changes}))
    for one in episodes:
        writer.append(one, timing(one.instance))
    writer.close()
    write_seen(writer.folder, seen)
    return root


def named(folder: Path) -> list[str]:
    return [one.instance for one in read_episodes(folder / "r")]


NAMES = st.lists(st.sampled_from(["a", "b", "c", "d", "é", "ß/1"]), max_size=6)


@given(parts=st.lists(NAMES, min_size=1, max_size=4), into=NAMES)
@examples(0.3)
def test_parts_that_may_overlap_become_the_sorted_lines_of_all(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[str]], into: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("merge")
    planned: dict[str, Any] = {"instances": sorted({"a", "b", "c", "d", "é", "ß/1"})}
    sources = [part(folder / str(i), *map(episode, names), **planned) for i, names in enumerate(parts)]
    if into:
        part(folder / "out", *map(episode, into), **planned)
    (merged,) = merge_runs(sources, folder / "out")
    names = sorted({name for part in (*parts, into) for name in part})
    assert named(folder / "out") == names
    assert [line.instance for line in read_timings(folder / "out/r")] == names
    assert sorted((*names, *merged.missing)) == planned["instances"]
    part(folder / "whole", *map(episode, names), **planned)
    for name in (EPISODES, TIMINGS):
        assert (folder / "out/r" / name).read_bytes() == (folder / "whole/r" / name).read_bytes()


def test_a_finished_episode_comes_before_one_that_ended_in_an_error(tmp_path: Path) -> None:
    first = part(tmp_path / "1", failed("0"), failed("1", "first"))
    other = part(tmp_path / "2", episode("0"), failed("1", "second"))
    (merged,) = merge_runs([first, other], tmp_path / "out")
    assert [one.error for one in read_episodes(tmp_path / "out/r")] == [None, "first"]
    assert (merged.failed, merged.missing) == (1, ("2",))


def test_calibration_runs_are_merged_in_their_own_place(tmp_path: Path) -> None:
    for name in ("1", "2"):
        part(tmp_path / name, episode(name))
        part(tmp_path / name, episode("0"), place="calibration")
    merge_runs([tmp_path / "1", tmp_path / "2"], tmp_path / "out")
    assert named(tmp_path / "out") == ["1", "2"]
    assert named(tmp_path / "out/calibration") == ["0"]


def test_a_torn_last_line_of_a_killed_shard_is_no_episode(tmp_path: Path) -> None:
    source = part(tmp_path / "1", episode("0"), episode("1"))
    path = source / "r" / EPISODES
    path.write_bytes(path.read_bytes()[:-10])
    (merged,) = merge_runs([source], tmp_path / "out")
    assert named(tmp_path / "out") == ["0"]
    assert [line.instance for line in read_timings(tmp_path / "out/r")] == ["0"]
    assert merged.missing == ("1", "2")


CPU: dict[str, Any] = {"provenance": {**HERE, "hardware": {**HERE["hardware"], "cpu": "two"}}}
ROUTER: dict[str, Any] = {"provenance": {**HERE, "router": {"class": "R", "sha256": "other"}}}


@pytest.mark.parametrize(
    ("first", "other", "words"),
    [
        ({}, {"episodes": [episode("0", "another")]}, "different episodes of instance '0'"),
        ({}, {"instances": ["0", "1"]}, "'instances'"),
        ({}, {"models": {"high": {"fingerprint": "f"}}}, "'models'"),
        ({}, {"label": "other"}, "'label'"),
        ({}, {"seen": ("t a",)}, "trained on"),
        ({}, ROUTER, "source of router 'always-high'"),
        ({}, CPU, r"hardware\.cpu \('one', 'two'\).*--mixed"),
        ({"fitted": {"k": 1}}, {"hash": "h2", "fitted": {"k": 2}, "episodes": []}, "calibrated to {'k': 1}"),
        ({}, {"episodes": [structs.replace(episode("1"), run="x")]}, "another run"),
        ({}, {"episodes": [episode("9")]}, "not among the 'instances'"),
    ],
)
def test_what_does_not_fit_together_is_refused_and_nothing_written(
    tmp_path: Path, first: dict[str, Any], other: dict[str, Any], words: str
) -> None:
    part(tmp_path / "1", episode("0"), **first)
    part(tmp_path / "2", *other.pop("episodes", [episode("1")]), **other)
    with pytest.raises(MixrouteError, match=words) as refused:
        merge_runs([tmp_path / "1", tmp_path / "2"], tmp_path / "out")
    assert str(tmp_path / "2") in str(refused.value)
    assert not list((tmp_path / "out").glob("*/*"))


def test_what_other_machines_played_is_recorded_where_it_is_asked_for(tmp_path: Path) -> None:
    part(tmp_path / "1", episode("0"), episode("2"))
    part(tmp_path / "2", episode("1"), **CPU)
    merge_runs([tmp_path / "1", tmp_path / "2"], tmp_path / "mixed", mixed=True)
    played = read_meta(tmp_path / "mixed/r").provenance["played_on"]
    assert [(one["hardware"]["cpu"], one["instances"]) for one in played] == [("one", ["0", "2"]), ("two", ["1"])]
    part(tmp_path / "3", episode("1"), **CPU)  # merged again, it stays known
    merge_runs([tmp_path / "mixed", tmp_path / "3"], tmp_path / "again", mixed=True)
    assert read_meta(tmp_path / "again/r").provenance["played_on"] == played
    with pytest.raises(MixrouteError, match="--mixed"):
        merge_runs([tmp_path / "mixed"], tmp_path / "refused")


def test_a_folder_without_runs_and_a_published_entry_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(MixrouteError, match="holds no run"):
        merge_runs([tmp_path / "empty"], tmp_path / "out")
    entry = part(tmp_path / "1", episode("0"))
    (entry / "r" / EPISODES).rename(entry / "r" / f"{EPISODES}.xz")
    with pytest.raises(MixrouteError, match="published entry"):
        merge_runs([entry], tmp_path / "out")
