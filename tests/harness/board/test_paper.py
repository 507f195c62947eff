"""Tables and figures for papers: what is chosen, what is marked, and that a page of two columns holds them."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.board.columns import columns
from harness.board.paper import DEFAULT_COLUMNS, paper_tables
from harness.board.paper_figure import paper_figure
from harness.board.paper_formats import to_csv, to_json, to_latex, to_markdown
from harness.board.table import Board, build_board
from harness.errors import MixrouteError
from harness.traces.evidence import SELF_REPORTED, VERDICTS, VerdictRecord, entry_digest, write_records
from tests.command import mixroute
from tests.harness.board.builders import Play, Run, write_run
from tests.harness.board.clocked import write_clocks
from tests.harness.board.test_overview import DMR, HIGH, LOW, ORACLE, RANDOM, RULE
from tests.shared_data import REPOSITORY

DOCUMENT = r"""\documentclass[twocolumn]{article}
\usepackage[T1]{fontenc}
\usepackage[letterpaper,margin=1in]{geometry}
\usepackage{booktabs}
\usepackage{tabularx}
\begin{document}
\input{tables.tex}
\end{document}
"""


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    folder = tmp_path_factory.mktemp("runs")
    second = [replace(one, task="webshop") for one in (HIGH, LOW)]
    runs = [HIGH, LOW, RANDOM, DMR, RULE, ORACLE, *second]
    return build_board([write_run(folder / f"run{number}", run) for number, run in enumerate(runs)])


def labels(text: str) -> list[str]:
    return [row["label"] for table in json.loads(text) for row in table["rows"]]


def test_sections_rows_and_columns_are_chosen_in_the_order_asked(board: Board) -> None:
    tables = paper_tables(board, headings=["label", "high %"], labels=["dmr", "always-*", "d*"], sections=["alfworld/"])
    assert labels(to_json(tables)) == ["dmr", "always-high", "always-low"]
    assert [column.heading for column in tables[0].columns] == ["label", "high %"]
    assert len(paper_tables(board)) == 2
    assert len(paper_tables(board, labels=["dmr"])) == 1  # the other section has none
    assert len(paper_tables(board, sections=["*/valid_unseen/toy"])) == 2


def test_best_and_second_are_marked_among_routers_that_mix(board: Board) -> None:
    (table,) = paper_tables(board, sections=["alfworld"], headings=["label", "success %", "bytes"])
    lines = {line.split(" & ")[0].removeprefix("{}"): line for line in to_latex([table]).splitlines() if " & " in line}
    assert r"\textbf{94.0}" in lines["dmr"]
    assert r"\underline{75.0}" in lines["every-k"]
    assert r"\textbf{0.438}" in lines["dmr"]
    assert r"\textbf{0.438}" in lines["random"]  # equal figures share a mark
    assert r"\underline{0.625}" in lines["every-k"]
    for label in ("always-high", "always-low", "agreement-oracle"):
        assert "textbf" not in lines[label]
        assert "underline" not in lines[label]
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in to_markdown([table]).splitlines()}
    assert "**94.0 [" in rows["dmr"]
    assert "*75.0 [" in rows["every-k"]


def test_intervals_are_small_and_stars_raised(board: Board) -> None:
    text = to_latex(paper_tables(board, sections=["alfworld"], labels=["dmr"]))
    assert r"+54.0$^{***}$\thinspace{\tiny [" in text
    assert "* p \\textless{} 0.05" in text


def test_cells_of_a_user_are_no_markup(tmp_path: Path) -> None:
    label = "5.0 [1, 2]** \\input{x}, =1+1"
    board = build_board([write_run(tmp_path / "run", Run("mine", {"a": Play("hl")}, label=label))])
    tables = paper_tables(board)
    assert r"\textbackslash{}input\{x\}" in to_latex(tables)
    assert r"\tiny [1" not in to_latex(tables)
    assert labels(to_json(tables)) == [label]
    assert label in next(csv.DictReader(io.StringIO(to_csv(tables))))["label"]


def test_csv_has_a_line_a_row_with_its_section(board: Board) -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(paper_tables(board, labels=["always-high"])))))
    assert [line["label"] for line in lines] == ["always-high"] * 2
    assert [line["section"].split(",")[0] for line in lines] == ["alfworld", "webshop"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"headings": ["label", "succes"]}, "--columns: no column 'succes'; there are: label, router, success %"),
        ({"labels": ["none"]}, "--row: no row has such a label; there are: agreement-oracle, always-high"),
        ({"sections": ["none"]}, "--section: no section begins so; there are: alfworld/valid_unseen/toy/"),
        ({"headings": []}, "--columns: name at least one"),
    ],
)
def test_what_is_not_on_the_board_is_named(board: Board, options: dict[str, list[str]], message: str) -> None:
    with pytest.raises(MixrouteError, match=re.escape(message)):
        paper_tables(board, **options)  # type: ignore[arg-type]


def test_the_command_prints_and_its_errors_are_one_line(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "one", HIGH)
    printed = mixroute("table", "runs", "--caption", "Mine", "--format", "markdown", cwd=tmp_path)
    assert printed.stdout.startswith("Mine\n\n| label |")
    refused = mixroute("table", "runs", "--columns", "label,none", cwd=tmp_path, code=2)
    assert refused.stdout == ""
    assert "no column 'none'" in refused.stderr


def test_the_command_knows_the_evidence_beside_the_runs(tmp_path: Path) -> None:
    """Seconds that nothing bounds are shown as such, as on the board."""
    folders = [write_run(tmp_path / "runs" / run.router, run) for run in (HIGH, DMR)]
    write_clocks(folders)
    table = ("table", "runs", "--columns", "label,seconds", "--format", "csv")
    assert "dmr,0.625" in mixroute(*table, cwd=tmp_path).stdout
    unbounded = VerdictRecord(folders[1].name, entry_digest(folders[1]), "unchecked", [f"times: {SELF_REPORTED}"])
    write_records(tmp_path / "evidence" / VERDICTS, [unbounded])
    assert "dmr,self-reported" in mixroute(*table, cwd=tmp_path).stdout


@pytest.mark.parametrize("headings", [DEFAULT_COLUMNS, [column.heading for column in columns()][:6]])
def test_published_tables_fit_a_page_of_two_columns(headings: list[str], tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex on this machine: make tex installs it")
    folders = sorted((REPOSITORY / "results" / "entries").glob("alfworld_valid_unseen_*"))
    (tmp_path / "tables.tex").write_text(to_latex(paper_tables(build_board(folders), headings=headings)))
    (tmp_path / "paper.tex").write_text(DOCUMENT)
    compiler = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(compiler, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert (tmp_path / "paper.pdf").stat().st_size > 0


@pytest.mark.parametrize(("form", "start"), [("pdf", b"%PDF"), ("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_a_figure_is_a_column_wide_and_its_bytes_are_those_of_the_board(board: Board, form: str, start: bytes) -> None:
    picture = paper_figure(board, form, sections=["alfworld"])
    assert picture.startswith(start)
    assert picture == paper_figure(board, form, sections=["alfworld"])
    assert picture != paper_figure(board, form, sections=["alfworld"], labels=["always-*", "dmr"])
    if form == "svg":
        assert b'width="241.2pt"' in picture  # 3.35 inches


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "gif"}, "--out: no figures in format 'gif': end the name in one of .pdf, .svg, .png"),
        ({"cost": "price"}, "--cost: no cost 'price'; there are: weight_bytes, flops, seconds"),
        ({"sections": []}, "--section: a figure shows one section, and these fit: alfworld/valid_unseen/toy/"),
        ({"sections": ["none"]}, "--section: no section begins so; there are: alfworld/"),
        ({"cost": "seconds"}, "has measured seconds relative to always-high"),
        ({"labels": ["none"]}, "--row: no such row of alfworld/valid_unseen/toy/"),
    ],
)
def test_what_no_figure_can_be_made_of_is_named(board: Board, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MixrouteError, match=re.escape(message)):
        paper_figure(board, **{"form": "pdf", "sections": ["alfworld"], **options})


def test_the_command_writes_the_figure(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "one", HIGH)
    mixroute("figure", "runs", "--out", "figure.pdf", cwd=tmp_path)
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF")
