"""Packed entries read like the runs; what they share is stored once; damage is named and never read as numbers."""

from __future__ import annotations

import json
import lzma
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.lines import read_lines, xz_lines
from harness.records import CallRecord, CallTiming, Episode, EpisodeTiming, RunMeta, StepRecord, StepTiming
from harness.traces.contamination import read_seen, write_seen
from harness.traces.pack import pack_run
from harness.traces.rounding import rounded_episode
from harness.traces.store import SCHEMA, TraceWriter, read_episodes, read_timings
from mixroute import MixrouteError
from tests.harness.traces.test_store import meta as plain_meta

CARD = {"model": "high", "parameters": 10, "weight_bytes": 20, "bits": 16.0, "fingerprint": "f", "details": {}}
Completion = list[tuple[float, float, float]]
NUMBERS = st.floats(min_value=-50, max_value=50)
COMPLETIONS = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), max_size=3)
TEXTS = st.sampled_from(["look", 'say "completion":[0,0]', '"logprobs":[],"entropies":[],"margins":[]', "é\n\\"])
RUNS = st.lists(st.lists(st.tuples(TEXTS, st.lists(COMPLETIONS, max_size=3)), max_size=3), min_size=1, max_size=3)

FIRST, SECOND, THIRD = [(-0.123456789, 0.5, 1.0)], [(-1e-7, 2e-5, 0.3), (0.0, 1.0, 0.5)], [(-3.0, 1.0, 0.25)]


def call(text: str, completion: Completion) -> CallRecord:
    logprobs, entropies, margins = ([token[column] for token in completion] for column in range(3))
    return CallRecord("high", 7, 0, len(completion), 0, "stop", False, text, logprobs, entropies, margins)


def meta(**changes: object) -> RunMeta:
    return plain_meta(**{"models": {"high": CARD}, "instances": ["0"], **changes})


def write(folder: Path, steps: list[tuple[str, list[Completion]]], name: str, seen: str = "t x") -> Path:
    """A finished run of one episode: of each step, a text and its calls' completions."""
    writer = TraceWriter(folder / name, meta(id=name, hash=name))
    records = [
        StepRecord(text, [text], [call(text, one) for one in calls], text, text, True, 0.5, "high")
        for text, calls in steps
    ]
    timings = [StepTiming(1 / 3, 2 / 3, [CallTiming(1 / 7, 2 / 7, 0.1, 1e-9, True) for _ in c]) for _, c in steps]
    writer.append(
        Episode(SCHEMA, name, "0", "k", 0, 0.5, False, "done", None, records, "end"),
        EpisodeTiming("0", 0, 0.1, timings),
    )
    writer.close()
    write_seen(folder / name, [seen])
    return folder / name


@pytest.fixture
def packed(tmp_path: Path) -> list[Path]:
    """Entries a, b and c; b uses completions of a, and c those of both."""
    runs = [
        write(tmp_path, [("one", [FIRST, SECOND]), ("two", [FIRST])], "a"),
        write(tmp_path, [("one", [FIRST]), ("two", [THIRD])], "b"),
        write(tmp_path, [("one", [THIRD, SECOND])], "c"),
    ]
    return [pack_run(run, tmp_path / "entries") for run in runs]


def lines(path: Path) -> list[bytes]:
    return lzma.decompress(path.read_bytes()).splitlines()


def edit(path: Path, old: bytes, new: bytes) -> None:
    content = lzma.decompress(path.read_bytes())
    assert old in content
    path.write_bytes(lzma.compress(content.replace(old, new, 1)))


@given(runs=RUNS)
@settings(max_examples=40, deadline=None)
def test_packed_entries_read_like_the_runs(tmp_path_factory: pytest.TempPathFactory, runs: list[list]) -> None:  # type: ignore[type-arg]
    folder = tmp_path_factory.mktemp("runs")
    plain = [write(folder, steps, f"run-{number}") for number, steps in enumerate(runs)]
    entries = [pack_run(run, folder / "entries") for run in plain]
    for run, entry in zip(plain, entries, strict=True):
        assert list(read_episodes(entry)) == [rounded_episode(episode) for episode in read_episodes(run)]
        assert read_seen(entry) == {"t x"}
        assert (entry / "run.json").read_bytes() == (run / "run.json").read_bytes()
    held = [line for entry in entries for line in lines(entry / "completions.jsonl.xz")]
    assert len(held) == len(set(held))  # each once, whoever uses it


def test_numbers_have_five_significant_digits(packed: list[Path]) -> None:
    (episode,) = read_episodes(packed[0])
    assert episode.steps[0].calls[0].logprobs == [-0.12346]
    assert episode.steps[0].calls[1].logprobs == [-1e-7, 0.0]
    (timing,) = read_timings(packed[0])
    assert timing.steps[0].calls[0] == CallTiming(0.14286, 0.28571, 0.1, 1e-9, True)
    assert (timing.reset, timing.steps[0].environment, timing.steps[0].router) == (0.1, 0.33333, 0.66667)


def test_what_a_sibling_holds_is_not_stored_again(packed: list[Path]) -> None:
    assert [len(lines(entry / "completions.jsonl.xz")) for entry in packed] == [2, 1, 0]
    tables = [[t["entry"] for t in json.loads((entry / "pack.json").read_text())["tables"]] for entry in packed]
    assert tables == [["a"], ["b", "a"], ["c", "b", "a"]]
    assert [(entry / "trained_on.txt.xz").exists() for entry in packed] == [True, False, False]


def test_packing_gives_the_same_bytes_and_leaves_siblings_alone(packed: list[Path], tmp_path: Path) -> None:
    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for entry in packed for path in sorted(entry.iterdir())}

    before = content()
    for name in "abc":
        pack_run(tmp_path / name, tmp_path / "entries")
    assert content() == before


def test_entries_of_another_group_share_nothing(packed: list[Path], tmp_path: Path) -> None:
    other = TraceWriter(tmp_path / "d", meta(id="d", hash="d", group="other"))
    (episode,) = read_episodes(tmp_path / "a")
    (timing,) = read_timings(tmp_path / "a")
    other.append(Episode(SCHEMA, "d", "0", "k", 0, 0.5, False, "done", None, episode.steps, "end"), timing)
    other.close()
    write_seen(tmp_path / "d", ["t x"])
    entry = pack_run(tmp_path / "d", tmp_path / "entries")
    assert len(lines(entry / "completions.jsonl.xz")) == 2
    assert (entry / "trained_on.txt.xz").exists()


def test_a_list_of_other_instances_is_stored(packed: list[Path], tmp_path: Path) -> None:
    entry = pack_run(write(tmp_path, [], "d", seen="t y"), tmp_path / "entries")
    assert read_seen(entry) == {"t y"}
    assert read_seen(packed[0]) == {"t x"}


def test_an_entry_packed_elsewhere_needs_no_sibling(packed: list[Path], tmp_path: Path) -> None:
    alone = pack_run(packed[2], tmp_path / "alone")
    expected = list(read_episodes(packed[2]))
    shutil.rmtree(tmp_path / "entries")
    assert list(read_episodes(alone)) == expected
    assert read_seen(alone) == {"t x"}


def test_a_missing_sibling_is_named_with_the_fix(packed: list[Path]) -> None:
    shutil.rmtree(packed[0])
    with pytest.raises(
        MixrouteError, match=r"b/pack\.json refers to completions\.jsonl\.xz of the entry a.* put a beside b"
    ):
        list(read_episodes(packed[1]))
    with pytest.raises(MixrouteError, match=r"c/pack\.json refers to trained_on\.txt\.xz of the entry a"):
        read_seen(packed[2])


def test_an_edited_table_is_an_error(packed: list[Path]) -> None:
    edit(packed[0] / "completions.jsonl.xz", b"-0.12346", b"-0.12345")
    for entry in packed[:2]:
        with pytest.raises(MixrouteError, match=r"a/completions\.jsonl\.xz is not the file that pack\.json means"):
            list(read_episodes(entry))


def test_an_edited_list_of_a_sibling_is_an_error(packed: list[Path]) -> None:
    write_seen(packed[0], [])
    with pytest.raises(MixrouteError, match=r"a/trained_on\.txt\.xz is not the file"):
        read_seen(packed[1])


def test_a_table_that_is_gone_is_an_error(packed: list[Path]) -> None:
    (packed[0] / "completions.jsonl.xz").unlink()
    with pytest.raises(MixrouteError, match=r"a/completions\.jsonl\.xz is missing"):
        list(read_episodes(packed[0]))


@pytest.mark.parametrize("name", ["completions.jsonl.xz", "episodes.jsonl.xz"])
def test_a_cut_off_file_is_named(packed: list[Path], name: str) -> None:
    path = packed[0] / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(MixrouteError, match=rf"a/{name} (cannot be read|is cut off)"):
        list(read_episodes(packed[0]))


def test_a_line_that_grows_too_long_with_its_statistics_is_an_error(
    packed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    longest = max(map(len, lines(packed[0] / "episodes.jsonl.xz")))
    monkeypatch.setattr("harness.traces.siblings.MOST_LINE", longest)
    with pytest.raises(MixrouteError, match="an episode has more than .* bytes with its statistics: leave it out"):
        list(read_episodes(packed[0]))


@pytest.mark.parametrize("name", ["completions.jsonl.xz", "episodes.jsonl.xz"])
def test_a_file_that_unpacks_to_too_much_is_an_error(
    packed: list[Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    sizes = {path.name: len(lzma.decompress(path.read_bytes())) for path in packed[0].glob("*.xz")}
    monkeypatch.setattr("harness.lines.MOST_BYTES", sizes[name] - 1)
    with pytest.raises(MixrouteError, match=rf"{name} unpacks to more than {sizes[name] - 1} bytes"):
        list(read_lines(packed[0] / name, Episode) if name.startswith("episodes") else xz_lines(packed[0] / name))


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (b'"completion":[0,2]', "refer to completion 2 of table 0"),
        (b'"completion":[1,0]', "refer to completion 0 of table 1"),
        (b'"completion":[0,1]', r"a call of 1 decoded tokens, whose statistics in .* are of \[2\]"),
        (b'"completion":[0,-1]', "is corrupt"),
    ],
)
def test_a_reference_to_the_wrong_completion_is_an_error(packed: list[Path], new: bytes, message: str) -> None:
    edit(packed[0] / "episodes.jsonl.xz", b'"completion":[0,0]', new)
    with pytest.raises(MixrouteError, match=message):
        list(read_episodes(packed[0]))


@pytest.mark.parametrize("name", ["../elsewhere", "..", "", "/etc"])
def test_only_folders_beside_the_entry_are_read(packed: list[Path], name: str) -> None:
    path = packed[1] / "pack.json"
    path.write_text(path.read_text().replace('"a"', json.dumps(name)))
    with pytest.raises(MixrouteError, match=r"b/pack\.json: .* is not the name of an entry's folder"):
        list(read_episodes(packed[1]))


def test_an_entry_that_others_refer_to_is_not_replaced_by_another(packed: list[Path], tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "a")
    write(tmp_path, [("one", [SECOND])], "a")
    with pytest.raises(MixrouteError, match=r"a exists with other content, which b refers to"):
        pack_run(tmp_path / "a", tmp_path / "entries")
    assert len(list(read_episodes(packed[1]))) == 1


def test_entries_with_inline_statistics_are_read_and_packed(tmp_path: Path) -> None:
    run = write(tmp_path, [("one", [FIRST])], "a")
    expected = list(read_episodes(run))
    for name in ("episodes.jsonl", "timings.jsonl"):
        (run / f"{name}.xz").write_bytes(lzma.compress((run / name).read_bytes()))
        (run / name).unlink()
    assert list(read_episodes(run)) == expected
    entry = pack_run(run, tmp_path / "entries")
    assert list(read_episodes(entry)) == [rounded_episode(episode) for episode in expected]


def test_an_unfinished_run_is_not_packed(tmp_path: Path) -> None:
    run = write(tmp_path, [], "a")
    (run / "episodes.jsonl").write_bytes(b"")
    with pytest.raises(MixrouteError, match="lacks 1 of 1 episodes"):
        pack_run(run, tmp_path / "entries")
    assert not (tmp_path / "entries").exists()


UNREADABLE = {
    "another run's hash": ("episodes.jsonl", '"run":"a"', '"run":"b"', "has run 'b'"),
    "an instance that is not planned": ("episodes.jsonl", '"instance":"0"', '"instance":"1"', "is not among the"),
    "a model without a card": ("episodes.jsonl", '"model":"high","prompt', '"model":"low","prompt', "has no card"),
    "times of another seed": ("timings.jsonl", '"seed":0', '"seed":1', "has other steps, calls or seed"),
    "a torn line": ("timings.jsonl", '"reset"', '"rest', "timings.jsonl:1 is corrupt"),
    "a card without bytes": ("run.json", '"weight_bytes": 20', '"weight_bytes": 0', "has no bytes or no parameters"),
    "another schema": ("run.json", '"schema": 2', '"schema": 3', "has schema 3, not 2"),
}


@pytest.mark.parametrize("fault", UNREADABLE)
def test_what_cannot_be_read_is_not_packed(tmp_path: Path, fault: str) -> None:
    name, old, new, message = UNREADABLE[fault]
    path = write(tmp_path, [("one", [FIRST])], "a") / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(MixrouteError, match=message):
        pack_run(path.parent, tmp_path / "entries")
    assert not (tmp_path / "entries").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("episodes.jsonl.xz", "shorter"),
        ("timings.jsonl.xz", "the times of instance '0' differ"),
        ("trained_on", "trai"),
    ],
)
def test_what_was_packed_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str) -> None:
    """A disk that keeps something else than was written."""

    @contextmanager
    def keep(path: Path) -> Iterator[IO[bytes]]:
        yield (written := BytesIO())
        content = lzma.decompress(written.getvalue())
        if path.name.startswith(name):
            content = b"" if name.startswith("episodes") else content.replace(b"0.1", b"0.2").replace(b"t x", b"t y")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(lzma.compress(content))

    monkeypatch.setattr("harness.lines.replacing", keep)
    run = write(tmp_path, [("one", [FIRST])], "a")
    with pytest.raises(MixrouteError, match=rf"entries/a does not read like .*{message}.*: pack it again"):
        pack_run(run, tmp_path / "entries")
    assert not (tmp_path / "entries/a/run.json").exists()
