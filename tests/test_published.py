"""What is published beside the entries: every file and figure is computed from them, and nothing else lies there."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import image

from docs.readme import filled_in
from harness.board import write_board
from harness.traces.store import find_runs
from tests.shared_data import REPOSITORY

RESULTS = REPOSITORY / "results"
WRITTEN = ("accuracy_cost.png", "board.csv", "board.json", "board.md", "board.tex", "index.html")
OF_ENTRY = ("run.json", *(f"{name}.xz" for name in ("episodes.jsonl", "timings.jsonl", "trained_on.txt")))
MAY_HAVE = ("completions.jsonl.xz", "pack.json", "clock.json", "clock.jsonl.xz")
ALLOWED = {
    "results": re.compile("|".join(map(re.escape, (*WRITTEN, "lock.json")))),
    "results/evidence": re.compile(r"(verdicts|audits|challenges)\.json"),
    "results/entries/*": re.compile("|".join(map(re.escape, (*OF_ENTRY, *MAY_HAVE)))),
    "results/calibration/*": re.compile("|".join(map(re.escape, (*OF_ENTRY, *MAY_HAVE)))),
}
"""The only files that may lie in ``results``, by folder; ``results/traces``, which git ignores, aside."""

MOST_PIXELS = 40
"""Pixels in which two computers may draw the picture differently; the mark of a row has over 100."""


def strangers(repository: Path) -> list[str]:
    """What lies in ``results`` and may not: other files and folders, and links of all kinds."""
    found = []
    for path in sorted((repository / "results").rglob("*")):
        name = path.relative_to(repository).as_posix()
        if name.startswith("results/traces/") or name == "results/traces":
            continue
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            found.append(name)
        elif path.is_dir():
            if not re.fullmatch("results/(evidence|entries(/[^/]+)?|calibration(/[^/]+)?)", name):
                found.append(name)
        elif not _is_allowed(path.relative_to(repository)) or path.stat().st_nlink > 1:
            found.append(name)
    return found


def _is_allowed(path: Path) -> bool:
    return any(path.parent.match(folder) and names.fullmatch(path.name) for folder, names in ALLOWED.items())


def test_nothing_else_is_published() -> None:
    assert strangers(REPOSITORY) == []


@pytest.mark.parametrize(
    "name",
    [
        "results/notes.md",
        "results/board.json.orig",
        "results/entries/notes.md",
        "results/entries/one/weights.safetensors",
        "results/entries/one/.hidden",
        "results/entries/one/episodes.jsonl",
        "results/entries/one/traces/run.json",
        "results/evidence/others.json",
        "results/scripts/run.json",
        "results/traces.html",
    ],
)
def test_a_file_too_many_is_found(tmp_path: Path, name: str) -> None:
    allowed = ["results/board.md", "results/entries/one/run.json", "results/evidence/audits.json", "results/traces/a/b"]
    for path in (tmp_path / one for one in (*allowed, name)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert set(strangers(tmp_path)) - {str(Path(name).parent)} == {name}


def test_a_link_is_found(tmp_path: Path) -> None:
    entry = tmp_path / "results" / "entries" / "one"
    entry.mkdir(parents=True)
    (entry / "run.json").symlink_to("/dev/null")
    (tmp_path / "results" / "entries" / "two").symlink_to(entry)
    (tmp_path / "results" / "board.md").write_text("")
    (tmp_path / "results" / "board.tex").hardlink_to(tmp_path / "results" / "board.md")
    links = ["results/board.md", "results/board.tex", "results/entries/one/run.json", "results/entries/two"]
    assert strangers(tmp_path) == links


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The board of the published entries, computed anew."""
    folder = tmp_path_factory.mktemp("board")
    write_board(find_runs(RESULTS / "entries"), folder, evidence=RESULTS / "evidence")
    assert sorted(path.name for path in folder.iterdir()) == sorted(WRITTEN)
    return folder


@pytest.mark.parametrize("name", WRITTEN)
def test_the_published_board_is_that_of_the_entries(made: Path, name: str) -> None:
    ours, theirs = ((folder / name).read_bytes() for folder in (made, RESULTS))
    assert_same(name, ours, theirs)


def assert_same(name: str, ours: bytes, theirs: bytes) -> None:
    """Equal but for what two computers may round differently."""
    stale = f"run mixroute board results/entries --out results: {name} is stale, or was edited"
    if name.endswith(".png"):
        one, other = picture(ours), picture(theirs)
        assert one.shape == other.shape, stale
        assert int((np.abs(one - other) > 0.05).any(axis=-1).sum()) <= MOST_PIXELS, stale
    elif name.endswith(".html"):
        pages = split(ours.decode()), split(theirs.decode())
        assert pages[0][::2] == pages[1][::2], stale
        assert_close(*(json.loads(page[1]) for page in pages))
    elif name.endswith(".json"):
        assert_close(json.loads(ours), json.loads(theirs))
    elif name.endswith(".csv"):
        assert_close(
            *([list(map(cell, row)) for row in csv.reader(io.StringIO(text.decode()))] for text in (ours, theirs))
        )
    else:
        assert ours == theirs, stale


@pytest.mark.parametrize("name", WRITTEN)
def test_an_edit_by_hand_is_seen(made: Path, name: str) -> None:
    """A better figure of a row, in whichever file it stands; in the picture, one marker painted over."""
    content = (made / name).read_bytes()
    if name.endswith(".png"):
        pixels = picture(content)
        pixels[400:412, 400:412] = (0, 0, 0, 1)
        drawn = io.BytesIO()
        image.imsave(drawn, pixels)
        edited = drawn.getvalue()
    else:
        old, new = (b"0.9083333333333333", b"0.9183333333333333") if b"0.908333" in content else (b"90.8", b"91.8")
        assert old in content
        edited = content.replace(old, new, 1)
    assert_same(name, content, content)
    with pytest.raises(AssertionError):
        assert_same(name, content, edited)


def picture(content: bytes) -> Any:
    return image.imread(io.BytesIO(content)).copy()


def split(page: str) -> list[str]:
    """The page before its data, the data, and the page after it."""
    found = re.split('(?<=<script type="application/json" id="data">)(.*?)(?=</script>)', page, flags=re.DOTALL)
    assert len(found) == 3
    return found


def cell(text: str) -> float | str:
    """A number, where a cell of the CSV is one."""
    try:
        return float(text)
    except ValueError:
        return text


def assert_close(ours: Any, theirs: Any) -> None:
    """Equal, but for the last digits of numbers."""
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_close(ours[key], theirs[key])
    elif isinstance(ours, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_close(one, other)
    elif isinstance(ours, float):
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)
    else:
        assert ours == theirs


def test_the_figures_of_the_readme_are_those_of_the_board() -> None:
    readme, board = (REPOSITORY / "README.md").read_text(), (RESULTS / "board.json").read_bytes()
    assert filled_in(readme, board) == readme, "run make readme"
    for edited in (readme.replace("90.8 [85.0", "91.8 [85.0"), readme.replace(">49.2%<", ">51.2%<")):
        assert edited != readme
        assert filled_in(edited, board) == readme


def test_the_readme_shows_seconds_where_the_board_has_some() -> None:
    readme, board = (REPOSITORY / "README.md").read_text(), json.loads((RESULTS / "board.json").read_bytes())
    for value, tables in ((None, 0), (0.5125, 2)):
        for row in board["rows"]:
            row["cost"]["seconds"] = value if row["label"] == "always-low" else None
        filled = filled_in(readme, json.dumps(board).encode())
        always = 1  # a table that has them in any case
        assert filled.count("| bytes | seconds |") - always == filled.count(" | 0.512 |") == tables


def test_every_result_in_the_readme_stands_between_comments() -> None:
    """An interval, or a share of a table of routers, outside of them could be edited without being seen."""
    readme = (REPOSITORY / "README.md").read_text()
    outside = re.sub("<!-- figures: .*?<!-- end -->", "", readme, flags=re.DOTALL)
    assert readme.count("<!-- figures: ") == readme.count("<!-- end -->") == 8
    assert not re.findall(r"\d\d?\.\d%? \[\d", outside)
    assert not re.findall(r"^\| (?:always|dmr|random|kl-sft).*", outside, flags=re.MULTILINE)
