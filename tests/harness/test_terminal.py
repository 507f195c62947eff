"""No text that is printed acts on the terminal, whoever wrote it."""

from __future__ import annotations

import io
import json
import logging
import shutil
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.logging import RichHandler
from rich.table import Table
from rich.text import Text

from harness.terminal import Terminal, line
from harness.traces.contamination import write_seen
from tests.command import mixroute
from tests.harness.board.builders import Play, Run, write_run

HOSTILE = "a\x1b[31m\x1b]0;owned\x07\x9b2J\x08\r\u202egnp\u2066\u200b\ufeff[/red]\nfake row"


def acts(text: str) -> set[str]:
    """Characters that may act on a terminal, or hide."""
    return {char for char in text if char != "\n" and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Cn", "Co")}


def printed(*what: object, **options: object) -> str:
    stream = io.StringIO()
    Terminal(file=stream, width=200, color_system=None).print(*what, **options)  # type: ignore[arg-type]
    return stream.getvalue()


@given(st.text())
def test_no_text_acts_on_the_terminal(text: str) -> None:
    table = Table("heading", "", title=Text(text))
    table.add_row(Text(text), line(text))
    for what in (text, Text(text), table):
        assert not acts(printed(what, markup=False, emoji=False))
    assert printed(line(text), soft_wrap=True).count("\n") == 1


def test_the_consoles_own_styles_stay() -> None:
    stream = io.StringIO()
    Terminal(file=stream, force_terminal=True, color_system="standard", width=80).print(f"[red]{HOSTILE[:8]}[/red]")
    assert "\x1b[31ma\ufffd" in stream.getvalue()


def test_logs_are_harmless() -> None:
    stream = io.StringIO()
    log = logging.getLogger("test_terminal")
    handler = RichHandler(console=Terminal(file=stream, width=200), show_time=False)
    log.addHandler(handler)
    log.warning("it said %s", HOSTILE)
    log.removeHandler(handler)
    assert "owned" in stream.getvalue()
    assert not acts(stream.getvalue())


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs with hostile texts in every field that takes any, and one that cannot be read, with such an instance."""
    root = tmp_path_factory.mktemp("hostile")
    for router in ("always-high", "random"):
        play = Play("h", kind=HOSTILE, text=HOSTILE)
        run = Run(router, {HOSTILE: play}, label=f"{router} {HOSTILE}", curve=HOSTILE, task=HOSTILE)
        write_seen(write_run(root / "runs" / router, run), [])
    bad = Path(shutil.copytree(root / "runs" / "random", root / "runs" / "bad"))
    meta = json.loads((bad / "run.json").read_bytes()) | {"instances": []}
    (bad / "run.json").write_text(json.dumps(meta))
    return root


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("board", "runs"), 1),
        (("switches", "runs/random"), 0),
        (("compare", "runs", f"always-high {HOSTILE}", "nobody"), 2),
        (("show", "nothing", "--runs", "runs"), 2),
        (("show", "owned", "--runs", "runs/random"), 0),
        (("verify", "runs/bad"), 1),
        (("run", f"{HOSTILE}.yaml"), 2),
        (("run", "default", "--router", f"x,{HOSTILE}"), 2),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_no_command_lets_text_of_an_entry_act(hostile: Path, arguments: tuple[str, ...], code: int) -> None:
    done = mixroute(*arguments, cwd=hostile, code=code)
    assert not acts(done.stdout + done.stderr)
    assert "Traceback" not in done.stderr
    if code == 2:
        assert done.stderr.count("\n") == 1
