"""The script that ``make gpu`` runs, on the CPU and where only PyTorch and transformers are installed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from harness.speed.card import SpeedCard, read_speed_card
from harness.speed.rates import Rates
from tests.command import PATIENCE
from tests.gpu.machine import OPTIONAL
from tests.gpu.results import Budget, Results
from tests.gpu.timing import CARD_SCHEMA

_ROOT = Path(__file__).parents[2]
_ABSENT = ("pydantic", "msgspec", "compressed_tensors", "platformdirs", "pooch", "bitsandbytes", "rapidfuzz", "gguf")
_BARE = """
import runpy, sys
for name in {absent}:
    sys.modules[name] = None
sys.argv = ["tests.gpu", *sys.argv[1:]]
runpy.run_module("tests.gpu", run_name="__main__")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gpu")


@pytest.fixture(scope="module")
def output(folder: Path) -> str:
    command = [sys.executable, "-c", _BARE.format(absent=_ABSENT), "--device", "cpu", "--shapes", "tiny"]
    command += ["--seconds", "20000"]  # a slow machine must not skip parts
    done = subprocess.run(
        [*command, "--out", str(folder)], cwd=_ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def records(output: str, folder: Path) -> Iterator[list[dict[str, Any]]]:
    assert output
    yield [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def test_its_first_line_says_what_is_missing(output: str) -> None:
    first = output.splitlines()[0]
    assert first.startswith("missing: ")
    assert all(name in first for name in OPTIONAL if name in _ABSENT)


def test_every_part_is_on_disk(records: list[dict[str, Any]]) -> None:
    parts = [record["part"] for record in records]
    assert list(dict.fromkeys(parts)) == [
        *("machine", "layers", "contract", "products", "load", "calls", "caches", "rows", "pytest")
    ]
    assert not [record for record in records if record.get("passed") is False or "failed" in record]
    checks = {(record["model"], record["check"]) for record in records if record["part"] == "contract"}
    assert ("W4A16, groups of 32", "answers do not depend on the batch") in checks
    layers = {(record["group"], record["zeros"]) for record in records if record["part"] == "layers"}
    assert layers == {(group, zeros) for group in (32, 64, 128, "output") for zeros in (True, False)}
    assert "missing: pydantic" in records[-1]["why"]


def test_one_cache_or_two_is_measured_for_both_models(records: list[dict[str, Any]]) -> None:
    found = [record for record in records if record["part"] == "caches"]
    assert {(record["model"], record["concurrency"]) for record in found} == {
        (name, calls) for name in ("high", "low") for calls in (1, 2)
    }
    for record in found:
        assert record["own_caches"].keys() == {"1", "2", "4", "8"}
        assert record["one_cache"] == record["own_caches"]["1"] > 0


def test_its_speed_card_is_one_that_the_board_charges_by(folder: Path, records: list[dict[str, Any]]) -> None:
    card = read_speed_card(folder / "card-tiny.json")
    assert {(cell.model, cell.concurrency, cell.length, len(cell.samples)) for cell in card.cells} == {
        (name, calls, 48, 3) for name in ("high", "low") for calls in (1, 2)
    }
    assert card.arithmetic() == {"low": "W4A16"}
    assert card.models["low"]["parameters"] == card.models["high"]["parameters"]
    assert card.models["low"]["weight_bytes"] < card.models["high"]["weight_bytes"]
    assert "random weights, low W4A16" in Rates(_without_noise(card), 1, "card").note()


def _without_noise(card: SpeedCard) -> SpeedCard:
    """The card with times that are above 0, which a busy machine may miss."""
    cells = [
        structs.replace(cell, samples=[structs.replace(one, prefill=1e-3, decode=1e-2) for one in cell.samples])
        for cell in card.cells
    ]
    return structs.replace(card, cells=cells)


def test_a_part_that_fails_is_recorded_and_others_go_on(tmp_path: Path) -> None:
    results = Results(tmp_path)

    def fail() -> None:
        raise RuntimeError("CUDA error")

    assert not results.guarded("calls", fail, shape="tiny")
    assert results.guarded("caches", lambda: None)
    (line,) = (tmp_path / "results.jsonl").read_text().splitlines()
    assert json.loads(line)["failed"] == "RuntimeError: CUDA error"
    assert json.loads(line)["shape"] == "tiny"


def test_a_share_of_a_budget_that_is_used_up_is_none() -> None:
    assert Budget(-1).share(0.5).left <= 0
    assert 0 < Budget(1000).share(0.5).left <= 500


def test_cards_have_the_schema_of_mixroute_calibrate() -> None:
    from harness.speed.card import SCHEMA

    assert CARD_SCHEMA == SCHEMA
