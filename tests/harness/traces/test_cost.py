"""Costs of calls, and a cost model that is added to the table."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from harness.board import write_board
from harness.board.render import print_board
from harness.board.table import build_board
from harness.data import ModelCard
from harness.plan.plan import Plan, PlannedRun
from harness.plan.show import print_plan
from harness.plan.usage import Usage, usage_of
from harness.records import CallRecord, CallTiming
from harness.traces.cost import COST_MODELS, CostModel, Costs, add_costs, call_cost
from tests.harness.board.builders import Play, Run, write_run

CARD = ModelCard("high", parameters=100, weight_bytes=1_000, bits=16, fingerprint="f" * 64)


def call(prompt: int, cached: int, decoded: int) -> CallRecord:
    return CallRecord("high", prompt, cached, decoded, decoded, "stop", False, "", [], [], [])


def test_a_call_by_hand() -> None:
    cost = call_cost(call(10, 4, 3), CARD, CallTiming(queue=7.0, prefill=0.5, decode=1.0, latency=9.0))
    assert cost == {"weight_bytes": 4_000, "flops": 2 * 100 * 9, "seconds": 1.5}


def test_weights_are_not_read_for_a_prompt_that_is_cached_whole() -> None:
    assert call_cost(call(10, 10, 3), CARD)["weight_bytes"] == 3_000


def test_a_sum_is_unknown_as_soon_as_a_part_is() -> None:
    known: Costs = {"seconds": 1.0, "flops": 2.0}
    unknown: Costs = {"seconds": None, "flops": 3.0}
    assert add_costs(known, unknown) == {"seconds": None, "flops": 5.0}
    assert add_costs({}, known) == known


@pytest.fixture
def prompt_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    model = CostModel(
        "prompt_tokens",
        title="prompt tokens computed",
        heading="prompt",
        unit="tokens",
        scale=1.0,
        per_call=lambda call, card, seconds: float(call.prompt_tokens - call.cached_tokens),
        brief=True,
    )
    monkeypatch.setitem(COST_MODELS, model.name, model)


@pytest.mark.usefixtures("prompt_tokens")
def test_a_new_entry_of_the_table_is_shown_everywhere(tmp_path: Path) -> None:
    """Each call of these runs computes six prompt tokens: always-high makes four calls, the other router two."""
    runs = Run("always-high", {"a": Play("hhhh")}), Run("first-k", {"a": Play("hl")})
    folders = [write_run(tmp_path / run.router, run) for run in runs]
    write_board(folders, tmp_path / "board")

    row = next(row for row in build_board(folders).rows if row.router == "first-k")
    assert (row.cost["prompt_tokens"], row.cost_absolute["prompt_tokens"]) == (0.5, 12)

    (published,) = (
        row for row in json.loads((tmp_path / "board/board.json").read_text())["rows"] if row["router"] == "first-k"
    )
    assert published["cost"]["prompt_tokens"] == 0.5

    lines = csv.DictReader(io.StringIO((tmp_path / "board/board.csv").read_text()))
    assert {line["router"]: line["cost_prompt_tokens"] for line in lines} == {"always-high": "1.0", "first-k": "0.5"}

    table = [line for line in (tmp_path / "board/board.md").read_text().splitlines() if line.startswith("|")]
    place = table[0].split(" | ").index("prompt")
    assert {line.split(" | ")[place] for line in table[2:4]} == {"1.000", "0.500"}
    assert " | prompt | " in (tmp_path / "board/board.md").read_text()

    console = Console(file=io.StringIO(), width=80, color_system=None)
    print_board(build_board(folders), console)
    assert isinstance(console.file, io.StringIO)
    assert "prompt" in console.file.getvalue()

    found = re.search(
        '<script type="application/json" id="data">(.*?)</script>', (tmp_path / "board/index.html").read_text()
    )
    assert found is not None
    assert json.loads(found[1])["costs"]["prompt_tokens"] == {
        "title": "prompt tokens computed",
        "unit": "tokens",
        "scale": 1.0,
    }


@pytest.mark.usefixtures("prompt_tokens")
def test_a_new_entry_of_the_table_is_planned(tmp_path: Path) -> None:
    used = usage_of(write_run(tmp_path, Run("first-k", {"a": Play("hl")})))
    assert used.cost["prompt_tokens"] == 12
    planned = PlannedRun("run", {}, 1, 0, "a past episode", used.times(3), None, Usage())
    console = Console(file=io.StringIO(), width=120, color_system=None)
    print_plan(Plan(2, "suite", "measured", {}, [planned]), console)
    assert isinstance(console.file, io.StringIO)
    assert "36" in console.file.getvalue().split()
