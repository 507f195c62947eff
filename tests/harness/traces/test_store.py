"""An episode persists whole or not at all, and files say where they are broken."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from harness.files import MOST_SMALL
from harness.records import Episode, EpisodeTiming, RunMeta, StepRecord
from harness.traces.contamination import write_seen
from harness.traces.store import RUN, SCHEMA, TraceWriter, read_episodes, read_meta, read_timings
from mixroute import MixrouteError
from tests.examples import examples

TEXT = st.text(max_size=20)


def meta(**changes: object) -> RunMeta:
    fields: dict[str, object] = {
        "schema": SCHEMA, "id": "r", "hash": "h", "group": "g", "label": "l", "task": "t", "split": "s", "pool": "p",
        "router": "always-high", "seed": 0, "config": {}, "content": {}, "protocol": {}, "models": {}, "fitted": {},
        "instances": ["0", "1", "2"], "provenance": {}, "role": "baseline",
    }  # fmt: skip
    return RunMeta(**{**fields, **changes})  # type: ignore[arg-type]


def episode(instance: str, observation: str = "o") -> Episode:
    step = StepRecord(observation, ["a"], [], "a", "a", True, 0.5, "high")
    return Episode(SCHEMA, "h", instance, "k", 0, 0.5, False, "done", None, [step], "end")


def timing(instance: str) -> EpisodeTiming:
    return EpisodeTiming(instance, 0, 0.1, [])


def write(folder: Path, *episodes: Episode) -> None:
    writer = TraceWriter(folder, meta())
    for one in episodes:
        writer.append(one, timing(one.instance))
    writer.close()
    write_seen(folder, [])


@given(observations=st.lists(TEXT, min_size=1, max_size=4))
@examples(0.3)
def test_whatever_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, observations: list[str]) -> None:
    folder = tmp_path_factory.mktemp("run")
    episodes = [episode(str(i), text) for i, text in enumerate(observations)]
    write(folder, *reversed(episodes))
    assert list(read_episodes(folder)) == episodes  # in order of instance, whatever ended first
    assert read_meta(folder) == meta()


@given(cut=st.integers(min_value=1, max_value=200), which=st.sampled_from(["episodes.jsonl", "timings.jsonl"]))
@examples(0.4)
def test_a_torn_line_is_cut_and_its_episode_played_again(
    tmp_path_factory: pytest.TempPathFactory, cut: int, which: str
) -> None:
    folder = tmp_path_factory.mktemp("run")
    writer = TraceWriter(folder, meta())
    for name in ("0", "1"):
        writer.append(episode(name), timing(name))
    path = folder / which
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][: -min(cut, len(lines[1]))])
    again = TraceWriter(folder, meta())
    left = {"0"} if which == "episodes.jsonl" else {"0", "1"}
    assert set(again.episodes) == left
    for name in {"0", "1", "2"} - left:
        again.append(episode(name), timing(name))
    again.close()
    assert {one.instance for one in read_episodes(folder)} == {"0", "1", "2"}


def test_a_corrupt_line_is_named(tmp_path: Path) -> None:
    write(tmp_path, episode("0"), episode("1"))
    path = tmp_path / "episodes.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"score":0.5', b'"score":"much"', 1))
    with pytest.raises(MixrouteError, match=r"episodes\.jsonl:1 is corrupt .*score"):
        list(read_episodes(tmp_path))


def test_an_episode_that_ended_in_an_error_is_played_again(tmp_path: Path) -> None:
    write(tmp_path, episode("0"), structs.replace(episode("1"), end="error", error="the device fell off the bus"))
    again = TraceWriter(tmp_path, meta())
    assert set(again.episodes) == {"0"}
    again.append(episode("1"), timing("1"))
    again.close()
    assert list(read_episodes(tmp_path)) == [episode("0"), episode("1")]
    assert [one.instance for one in read_timings(tmp_path)] == ["0", "1"]


def test_a_run_that_is_not_played_again_keeps_errors_and_learns_its_instances(tmp_path: Path) -> None:
    """As the record of ``mixroute serve``, whose sessions are not known beforehand."""
    failed = structs.replace(episode("a"), end="error", error="the disk caught fire")
    for instances in (["a", "b"], ["b", "c"]):
        writer = TraceWriter(tmp_path, meta(instances=[]), play_again=False)
        writer.expect(instances)
        for one in instances:
            if one not in writer.episodes:
                writer.append(failed if one == "a" else episode(one), timing(one))
        writer.close()
    assert list(read_episodes(tmp_path)) == [failed, episode("b"), episode("c")]
    assert read_meta(tmp_path) == meta(instances=["a", "b", "c"])
    with pytest.raises(MixrouteError, match="may have"):
        TraceWriter(tmp_path, meta(), play_again=False).expect(["x" * (MOST_SMALL + 1)])
    assert read_meta(tmp_path).instances == ["a", "b", "c"]


def test_a_run_of_an_older_schema_says_what_to_do(tmp_path: Path) -> None:
    write(tmp_path, episode("0"))
    path = tmp_path / RUN
    path.write_text(path.read_text().replace(f'"schema": {SCHEMA}', '"schema": 1').replace('"content": {},', ""))
    with pytest.raises(MixrouteError, match=r"run\.json is a run of an older schema, .*: delete the folder and run"):
        read_meta(tmp_path)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"provenance": {"note": "x" * MOST_SMALL}}, "of them in 'provenance'"),
        ({"instances": ["a\0b"]}, "holds a NUL"),
        ({"label": "\ud800"}, "cannot be written"),
        ({"fitted": {"p": 1 << 64}}, "too large for an integer"),
        ({"provenance": {"router": "mine"}}, r"provenance\.router"),
        ({"models": {"high": {"details": 3}}}, r"models\[\.\.\.\]\.details"),
        ({"seed": None}, r"\$\.seed"),
        ({"id": "a/b"}, "no name for a file"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_run_that_could_not_be_read_again_is_refused_before_play(
    tmp_path: Path, changes: dict[str, object], cause: str
) -> None:
    with pytest.raises(MixrouteError, match=rf"run\.json.*{cause}.*it could not be read again"):
        TraceWriter(tmp_path / "run", meta(**changes))
    assert not (tmp_path / "run").exists()


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    write(tmp_path, episode("0"))
    with pytest.raises(MixrouteError, match="belongs to another run"):
        TraceWriter(tmp_path, meta(hash="other"))
