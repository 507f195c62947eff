"""What is written: shape, escaping, and bytes that depend on the runs alone."""

from __future__ import annotations

import csv
import io
import json
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harness.board import write_board
from harness.board.render import json_schema, print_board
from harness.board.table import build_board
from harness.errors import MixrouteError
from harness.text import clean, latex, markdown, spreadsheet
from tests.harness.board.builders import PROTOCOL, Play, Run, write_run
from tests.harness.board.test_table import HIGH, MIX

FILES = ("accuracy_cost.png", "board.csv", "board.json", "board.md", "board.tex", "index.html")
NASTY = '=HYPERLINK("x")|a_b*c`<img src=x>[l](u)\\&%$#{}~^\n\x1b[31m\u202e[bold]'


@pytest.fixture
def nasty(tmp_path: Path) -> Path:
    run = replace(MIX, label=NASTY, plays={NASTY: Play("hl", kind=NASTY, text=NASTY)}, task=NASTY)
    write_run(tmp_path / "run", replace(run, protocol={**PROTOCOL, NASTY: NASTY}))
    write_board([tmp_path / "run"], tmp_path / "out")
    return tmp_path / "out"


def rows_of(out: Path) -> list[dict[str, Any]]:
    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is not JSON")

    content = json.loads((out / "board.json").read_bytes(), parse_constant=refuse)
    assert content.keys() == {"schema", "budgets", "overview", "rows", "curves"}
    assert content["schema"] == 3
    rows: list[dict[str, Any]] = content["rows"]
    return rows


def written(folders: list[Path], out: Path) -> dict[str, bytes]:
    write_board(folders, out)
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_writes_all_files_and_nothing_else(tmp_path: Path) -> None:
    files = written([write_run(tmp_path / "run", MIX)], tmp_path / "out")
    assert tuple(sorted(files)) == FILES
    assert files["accuracy_cost.png"].startswith(b"\x89PNG")


def test_the_order_of_folders_changes_no_byte(tmp_path: Path) -> None:
    runs = [HIGH, MIX, replace(HIGH, seed=1), replace(MIX, seed=1), replace(MIX, protocol={"step_cap": 5})]
    folders = [write_run(tmp_path / str(index), run) for index, run in enumerate(runs)]
    first = written(folders, tmp_path / "first")
    for number in range(3):
        random.Random(number).shuffle(folders)
        assert written(folders, tmp_path / f"again{number}") == first


def test_json_holds_the_fields_that_others_read(tmp_path: Path) -> None:
    write_board([write_run(tmp_path / "a", HIGH), write_run(tmp_path / "b", MIX)], tmp_path / "out")
    row = next(row for row in rows_of(tmp_path / "out") if row["label"] == "every-k")
    assert row["success"] == {"mean": 0.5, "low": 0.0, "high": 1.0}
    assert row["cost"] == {"weight_bytes": 8 / 24, "flops": 5 / 6, "seconds": None}
    assert row["by_kind"]["clean"]["n"] == 1
    assert row["pareto"] is True
    assert row["entry"][0].keys() == {"folder", "id", "hash", "seed", "command", "commit"}
    assert row["protocol"]["models"]["low"]["weight_bytes"] == 250


def test_the_schema_is_published_and_holds(tmp_path: Path) -> None:
    published = Path(__file__).parents[3] / "docs" / "board.schema.json"
    assert published.read_bytes() == json_schema()
    write_board([write_run(tmp_path / "a", HIGH), write_run(tmp_path / "b", MIX)], tmp_path / "out")
    row_schema = json.loads(published.read_text())["$defs"]["Row"]
    for row in rows_of(tmp_path / "out"):
        assert row.keys() == row_schema["properties"].keys()
        assert row.keys() >= set(row_schema["required"])


def test_unknown_numbers_are_null_in_json_and_a_dash_in_tables(tmp_path: Path) -> None:
    write_board([write_run(tmp_path / "run", Run("new", {}, planned=["a"]))], tmp_path / "out")
    (row,) = rows_of(tmp_path / "out")
    assert row["success"] == {"mean": None, "low": None, "high": None}
    assert row["steps"] is None
    markdown_text = (tmp_path / "out" / "board.md").read_text()
    assert "| new | new | - | - | - |" in markdown_text
    assert "nan" not in markdown_text.lower()
    assert "None" not in markdown_text


def test_markdown_shows_percent_interval_and_protocol(tmp_path: Path) -> None:
    write_board([write_run(tmp_path / "a", HIGH), write_run(tmp_path / "b", MIX)], tmp_path / "out")
    text = (tmp_path / "out" / "board.md").read_text()
    assert "| every-k | every-k | 50.0 [0.0, 100.0] | 0.500" in text
    for fact in ("step\\_cap 50", "dialect 0.4", "engine native", "show\\_admissible true", "pool toy, deterministic"):
        assert fact in text
    assert "prompt\\_hash abababababab" in text
    assert "model low: 0.0 MB, 4 bits" in text


def test_one_section_a_group(tmp_path: Path) -> None:
    runs = [MIX, replace(MIX, protocol={"step_cap": 5})]
    write_board([write_run(tmp_path / str(index), run) for index, run in enumerate(runs)], tmp_path / "out")
    assert (tmp_path / "out" / "board.md").read_text().count("\n## ") == 2
    assert (tmp_path / "out" / "board.tex").read_text().count(r"\begin{table*}") == 2


def test_nasty_text_survives_in_json(nasty: Path) -> None:
    (row,) = rows_of(nasty)
    assert row["label"] == row["task"] == NASTY
    assert list(row["by_kind"]) == [NASTY]


def test_nasty_text_cannot_leave_its_markdown_cell(nasty: Path) -> None:
    text = (nasty / "board.md").read_text()
    tables = [line for line in text.splitlines() if line.startswith("|")]
    columns = [len(re.findall(r"(?<!\\)\|", line)) for line in tables]
    assert columns == [26] * 3 + [3] * 3
    assert "<img" not in text
    assert "\x1b" not in text
    assert "[l](u)" not in text


def test_nasty_text_is_no_formula_in_csv(nasty: Path) -> None:
    lines = list(csv.reader(io.StringIO((nasty / "board.csv").read_text(), newline="")))
    assert len(lines) == 2
    row = dict(zip(*lines, strict=True))
    assert row["label"].startswith("'=")
    assert float(row["success_mean"]) == 1.0
    assert row["cost_weight_bytes"] == ""


def test_nasty_text_is_plain_in_latex(nasty: Path) -> None:
    text = (nasty / "board.tex").read_text()
    assert r"\textbackslash{}\&\%\$\#\{\}\textasciitilde{}\textasciicircum{}" in text
    # Whatever is left once escapes, commands and groups are taken away must hold no special character.
    body = re.sub(r"\\[a-z]+(?![a-z])|\\[\\&%$#_{}]", "", "\n".join(text.splitlines()[1:]))
    assert not set(body) & set("\\%$#^~<>|")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a--b---c", "a-{}-b-{}-{}-c"),
        ("?`x!`", r"?\textasciigrave{}x!\textasciigrave{}"),
        ("<<a>>", r"\textless{}\textless{}a\textgreater{}\textgreater{}"),
        ("``q''", r"\textasciigrave{}\textasciigrave{}q'{}'"),
        (",,", ",{},"),
        ("a-b, it's", "a-b, it's"),
    ],
)
def test_latex_joins_no_characters(text: str, shown: str) -> None:
    assert latex(text) == shown


def test_terminal_table_prints_text_as_it_is(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=300, color_system=None)
    print_board(build_board([write_run(tmp_path / "run", replace(MIX, label="[red]x[/]\x1b[2J"))]), console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert text.count("[red]x[/]\N{REPLACEMENT CHARACTER}[2J") == 3  # in its row and in its notes
    assert "50.0 [0.0, 100.0]" in text
    assert "step_cap 50" in text


def test_nothing_is_written_if_a_run_is_broken(tmp_path: Path) -> None:
    good, bad = write_run(tmp_path / "good", MIX), tmp_path / "bad"
    with pytest.raises(MixrouteError):
        write_board([good, bad], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_many_rows_and_sections_still_make_a_picture(tmp_path: Path) -> None:
    runs = [replace(MIX, label=f"router {index}", args={"k": index}) for index in range(40)]
    runs += [replace(MIX, protocol={"step_cap": cap}) for cap in range(3)]
    files = written([write_run(tmp_path / str(index), run) for index, run in enumerate(runs)], tmp_path / "out")
    assert len(files["accuracy_cost.png"]) > 10_000


@given(st.text())
def test_clean_text_is_one_printable_line(text: str) -> None:
    assert clean(text).isprintable()
    assert len(clean(text)) == len(text)


@given(st.text() | st.text(" \t\n=+-@|*`[\\", min_size=1))
def test_escapes_hold_for_any_text(text: str) -> None:
    assert spreadsheet(text).lstrip()[:1] not in ("=", "+", "-", "@")
    assert "<" not in markdown(text)
    assert not re.search(r"(?<!\\)(\\\\)*[|`*_\[]", markdown(text))
    assert len(latex(text).splitlines()) <= 1
