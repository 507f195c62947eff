"""Runs with damaged files: whatever reads them says so with one error, and one of them ends no board of the others."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harness.board.page import to_html, write_traces
from harness.board.paper import paper_tables
from harness.board.paper_formats import to_latex
from harness.board.render import print_board, to_csv, to_json, to_markdown
from harness.board.show import find_episode, show_episode
from harness.board.switches import count_switches, print_switches
from harness.board.table import build_board
from harness.integrations.inspect_log import export_run
from harness.plan.usage import usage_of
from harness.traces.contamination import write_seen
from harness.traces.evidence import entry_digest
from harness.traces.pack import pack_run
from harness.traces.store import read_meta
from mixroute import MixrouteError
from tests.command import mixroute
from tests.damage import damaged, damaged_bytes
from tests.examples import parser_examples
from tests.harness.board.builders import Play, Run, write_run

FILES = ("run.json", "episodes.jsonl", "timings.jsonl", "trained_on.txt.xz")


def console() -> Console:
    return Console(file=io.StringIO(), width=100)


def shown(folder: Path) -> None:
    show_episode(*find_episode(folder, f"{read_meta(folder).id}/game/0"), console())


def board(run: Path) -> None:
    made = build_board([run])
    for write in (to_json, to_markdown, to_csv, to_html):
        write(made)
    to_latex(paper_tables(made))
    print_board(made, console())
    write_traces([run], run.parent / "board")


READERS: dict[str, Callable[[Path], object]] = {
    "board": board,
    "export": lambda run: export_run(run, run.parent / "logs"),
    "usage": usage_of,
    "pack": lambda run: pack_run(run, run.parent / "entries"),
    "switches": lambda run: print_switches(count_switches([run]), console()),
    "show": shown,
    "digest": entry_digest,
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plays = {"game/0": Play("hl"), "game/1": Play("lx?", success=False, error="lost")}
    folder = write_run(tmp_path_factory.mktemp("sound") / "run", Run("random", plays, args={"p": 0.5}))
    write_seen(folder, ["t other"])
    return folder


@pytest.mark.parametrize("name", FILES)
@parser_examples(25)
@given(data=st.data())
def test_every_reader_reads_a_damaged_run_or_names_its_file(
    tmp_path_factory: pytest.TempPathFactory, sound: Path, name: str, data: st.DataObject
) -> None:
    root = tmp_path_factory.getbasetemp() / "damaged"
    shutil.rmtree(root, ignore_errors=True)
    run = Path(shutil.copytree(sound, root / "run"))
    content = (run / name).read_bytes()
    if name.endswith(".jsonl"):
        first, rest = content.split(b"\n", 1)
        content = data.draw(damaged(first)) + b"\n" + rest
    else:
        content = data.draw(damaged_bytes(content) if name.endswith(".xz") else damaged(content))
    (run / name).write_bytes(content)
    for reader in READERS.values():
        try:
            reader(run)
        except MixrouteError as error:
            assert str(root) in str(error)
            assert len(str(error)) < 1500


@pytest.mark.parametrize("name", ["logprobs", "entropies", "margins"])
@pytest.mark.parametrize("reader", [name for name in READERS if name != "digest"])
def test_statistics_of_other_tokens_than_a_call_has_are_damage(
    sound: Path, tmp_path: Path, name: str, reader: str
) -> None:
    run = Path(shutil.copytree(sound, tmp_path / "run"))
    text = (run / "episodes.jsonl").read_text()
    (run / "episodes.jsonl").write_text(re.sub(rf'"{name}": ?\[[^]]*\]', f'"{name}":[]', text, count=1))
    with pytest.raises(
        MixrouteError, match=r"game/0' has a call of \d decoded tokens, whose statistics are of \[0, \d\]"
    ):
        READERS[reader](run)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ('{"a": ' + "[" * 2000, "run.json is no JSON"),
        ("\udcff", "run.json is no JSON"),
        ("1" * 5000, "run.json is no JSON"),
    ],
    ids=["deep", "no UTF-8", "huge"],
)
def test_one_bad_entry_does_not_end_the_board(tmp_path: Path, damage: str, message: str) -> None:
    for router in ("always-high", "always-low"):
        folder = write_run(tmp_path / "entries" / router, Run(router, {"game/0": Play("h"), "game/1": Play("l")}))
        write_seen(folder, [])
    bad = Path(shutil.copytree(tmp_path / "entries" / "always-low", tmp_path / "entries" / "bad"))
    (bad / "run.json").write_bytes(damage.encode(errors="surrogateescape"))
    done = mixroute("board", "entries", "--out", "board", "--traces", cwd=tmp_path, code=1)
    assert "always-high" in done.stdout
    assert "always-low" in done.stdout
    assert done.stderr.startswith("error: left out bad: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert len(json.loads((tmp_path / "board" / "board.json").read_bytes())["rows"]) == 2
    with pytest.raises(MixrouteError, match=message):  # whoever asks for all of them gets no less in silence
        build_board(sorted((tmp_path / "entries").iterdir()))
    assert message in mixroute("board", "entries/bad", cwd=tmp_path, code=2).stderr


def test_one_bad_entry_does_not_end_verification(tmp_path: Path) -> None:
    for name in ("good", "bad", "worse"):
        folder = write_run(tmp_path / "runs" / name, Run("always-high", {"game/0": Play("h")}))
        write_seen(folder, [])
    (tmp_path / "runs" / "bad" / "run.json").write_bytes(b'{"schema": 2, "a": "\xff"}')
    (tmp_path / "runs" / "worse" / "run.json").write_text("[" * 2000 + "]" * 2000)
    done = mixroute("verify", "runs", "--json", "verdicts.json", cwd=tmp_path, code=1)
    assert "Traceback" not in done.stderr
    found = {one["entry"]: one["findings"] for one in json.loads((tmp_path / "verdicts.json").read_bytes())}
    assert found.keys() == {"good", "bad", "worse"}
    for name in ("bad", "worse"):
        (finding,) = found[name]
        assert finding["status"] == "failed"
        assert "run.json is no JSON" in finding["details"][0]
    assert len(found["good"]) > 5  # it was checked all the same


@pytest.mark.parametrize("key", ["id", "hash"])
@pytest.mark.parametrize("value", ["../out", "..", "/out", "a/b", "a\\b", "", "a\nb", "\u202ea", "."])
def test_what_files_are_named_by_has_no_folder_in_it(sound: Path, tmp_path: Path, key: str, value: str) -> None:
    run = Path(shutil.copytree(sound, tmp_path / "in" / "run"))
    meta = json.loads((run / "run.json").read_bytes()) | {key: value}
    (run / "run.json").write_text(json.dumps(meta))
    for write, folder in ((pack_run, "entries"), (export_run, "logs")):
        with pytest.raises(MixrouteError, match=f"run.json: {key} .* is no name for a file"):
            write(run, tmp_path / "in/a" / folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
    assert not (tmp_path / "in/a").exists()


def test_a_long_value_is_cut_in_the_message(sound: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(sound, tmp_path / "run"))
    meta = json.loads((run / "run.json").read_bytes()) | {"id": "/" * 10_000}
    (run / "run.json").write_text(json.dumps(meta))
    with pytest.raises(MixrouteError) as raised:
        read_meta(run)
    assert len(str(raised.value)) < len(str(run)) + 200


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("config.limit", "all"),
        ("config.temperature", "hot"),
        ("config.mode", ["deterministic"]),
        ("config.task_args", []),
        ("config.router_args", "p"),
        ("provenance.hardware", "a CPU"),
        ("provenance.packages", []),
        ("provenance.git", {"commit": 3}),
        ("provenance.time", 5),
        ("models.low.details", []),
        ("seed", 10**400),
        ("protocol.step_cap", 1 << 63),
    ],
)
def test_what_readers_rely_on_is_checked_where_it_is_read(
    sound: Path, tmp_path: Path, place: str, value: object
) -> None:
    run = Path(shutil.copytree(sound, tmp_path / "run"))
    meta = json.loads((run / "run.json").read_bytes())
    *parents, key = place.split(".")
    parent = meta
    for name in parents:
        parent = parent[name]
    parent[key] = value
    (run / "run.json").write_text(json.dumps(meta))
    with pytest.raises(MixrouteError, match=r"run.json is not valid \("):
        read_meta(run)
