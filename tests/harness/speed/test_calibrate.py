"""``mixroute calibrate``: what it measures, how it goes on, and with what it refuses to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from harness.pool import load_pool, with_random_weights
from harness.speed.card import read_speed_card
from harness.speed.measure import MeasurementPlan, calibrate
from mixroute import MixrouteError
from tests.command import mixroute

SMALL = MeasurementPlan((1, 2), (24, 60), decode=4, repeats=2, mode="throughput")


@pytest.fixture
def pool_file(tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny model's shape, with weights that are not there."""
    monkeypatch.setenv("MIXROUTE_CACHE", str(tiny_weights.parent / "cache"))
    shape = {"weights": "not/here", "shape": str(tiny_weights / "config.json")}
    models = {"high": shape, "low": {**shape, "options": {"quantization": "nf4"}}}
    path = tmp_path / "pool.yaml"
    sharing = {"shared": ["high", "low"]}
    path.write_text(yaml.safe_dump({"schema": 1, "name": "drawn", "models": models, "kv_cache": sharing}))
    return path


def test_every_model_is_timed_everywhere(pool_file: Path) -> None:
    options = ("--concurrency", "1,2", "--length", "24,60", "--decode", "4", "--repeats", "2", "--random-weights")
    shown = mixroute("calibrate", pool_file, *options, cwd=pool_file.parent).stdout
    assert "milliseconds" in shown
    assert "kv_cache: high, low share one cache; each was timed alone" in " ".join(shown.split())
    card = read_speed_card(pool_file.parent / "runs/speed/drawn.json")
    found = {(cell.model, cell.concurrency, cell.length) for cell in card.cells}
    assert found == {(name, calls, length) for name in ("high", "low") for calls in (1, 2) for length in (24, 60)}
    for cell in card.cells:
        assert len(cell.samples) == 2
        for sample in cell.samples:
            assert abs(sample.prompt_tokens - cell.length) <= 8
            assert sample.decoded_tokens == 4 * cell.concurrency
            assert sample.prefill > 0
    assert card.models["low"]["bits"] < card.models["high"]["bits"]
    assert card.models["high"]["random"]
    assert card.energy.startswith("not measured") or card.cells[0].joules("decode") is not None
    assert {"packages", "hardware", "time"} <= card.provenance.keys()


def test_it_goes_on_where_it_was_stopped_with_the_same_models_only(pool_file: Path, tmp_path: Path) -> None:
    pool = with_random_weights(load_pool(str(pool_file)))
    path = tmp_path / "card.json"
    before = calibrate(pool, SMALL, path, lambda cell: None)
    after = calibrate(pool, replace(SMALL, concurrencies=(1, 2, 3)), path, lambda cell: None)
    assert [cell for cell in after.cells if cell.concurrency < 3] == before.cells
    assert [cell.concurrency for cell in after.cells[len(before.cells) :]] == [3] * 4
    assert read_speed_card(path) == after
    other = {"high": pool.models["high"].model_copy(update={"options": {"dtype": "bfloat16"}})}
    with pytest.raises(MixrouteError, match="other weights or options: use another --out"):
        calibrate(pool.model_copy(update={"models": other}), SMALL, path, lambda cell: None)
    with pytest.raises(MixrouteError, match="another mode: use another --out"):
        calibrate(pool, replace(SMALL, mode="deterministic"), path, lambda cell: None)


def test_what_it_cannot_do_is_said(tmp_path: Path) -> None:
    (tmp_path / "pool.yaml").write_text("{schema: 1, name: bare, models: {high: {weights: some/model}}}")
    with pytest.raises(MixrouteError, match="model 'high' has no 'shape'"):
        with_random_weights(load_pool(str(tmp_path / "pool.yaml")))
    assert "1,x" in mixroute("calibrate", "smollm2", "--concurrency", "1,x", cwd=tmp_path, code=2).stderr
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises(MixrouteError, match="no speed card"):
        read_speed_card(tmp_path / "card.json")


def test_a_prompt_beyond_the_context_is_left_out(pool_file: Path, tmp_path: Path) -> None:
    pool = with_random_weights(load_pool(str(pool_file)))
    plan = replace(SMALL, concurrencies=(1,), lengths=(24, 5000))
    card = calibrate(pool, plan, tmp_path / "card.json", lambda cell: None)
    assert {cell.length for cell in card.cells} == {24}


def test_the_card_says_what_arithmetic_each_model_ran_in(tmp_path: Path, tiny_weights: Path, pool_file: Path) -> None:
    ways = {
        "integers": ({"quantization": "rtn-w4-channel"}, "W4A8"),
        "head": ({"quantization": "rtn-w4-channel", "head": "int8"}, "W4A8, head W8A8"),
        "groups": ({"quantization": "rtn-w4"}, "W4A16"),
        "dense": ({"quantization": "rtn-w4", "kernels": "unpacked"}, "unpacked"),
        "high": ({}, None),
    }
    shape = {"weights": "random", "shape": str(tiny_weights / "config.json")}
    models = {name: {**shape, "options": {**options, "device": "cpu"}} for name, (options, _) in ways.items()}
    path = tmp_path / "packed.yaml"
    path.write_text(yaml.safe_dump({"schema": 1, "name": "packed", "models": models}))
    options = ("--concurrency", "1", "--length", "24", "--decode", "2", "--repeats", "1", "--out", "card.json")
    shown = mixroute("calibrate", path, *options, cwd=tmp_path).stdout
    card = read_speed_card(tmp_path / "card.json")
    assert {name: model["details"].get("arithmetic") for name, model in card.models.items()} == {
        name: arithmetic for name, (_, arithmetic) in ways.items()
    }
    for name, (_, arithmetic) in ways.items():
        assert (f"{name} computes {arithmetic}" in shown) == (arithmetic is not None)
