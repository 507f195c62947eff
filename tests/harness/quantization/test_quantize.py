"""``mixroute quantize`` and ``mixroute variants`` on a tiny model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from harness.backends.loading import TransformersOptions, load_model
from harness.backends.model_card import model_card
from harness.pool import ModelSpec, load_pool
from harness.weights.schemes import SCHEMES, get_scheme
from mixroute import MixrouteError
from tests.command import mixroute

RECIPE = """
schema: 1
name: tiny
pool: unused
lessons: [{task: alfworld-gen, args: {games: 3}}]
dev: [{task: alfworld-gen, split: dev, limit: 3, args: {step_cap: 3}}]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_pool: Path) -> Path:
    """A folder with all quantized variants of the tiny model and the table of them."""
    folder = tmp_path_factory.mktemp("variants")
    (folder / "recipe.yaml").write_text(RECIPE)
    mixroute("quantize", tiny_pool, "--recipe", "recipe.yaml", "--out", "made", cwd=folder)
    mixroute("variants", "made/pool.yaml", "--recipe", "recipe.yaml", "--out", "made", cwd=folder)
    return folder / "made"


def test_every_scheme_becomes_a_model_of_a_pool(made: Path) -> None:
    assert set(load_pool(str(made / "pool.yaml")).models) == {"high", *SCHEMES}
    for name, scheme in SCHEMES.items():
        config = json.loads((made / name / "config.json").read_text())["quantization_config"]
        weights = config["config_groups"]["group_0"]["weights"]
        assert weights["num_bits"] == scheme.bits
        assert weights["symmetric"] == scheme.symmetric
        card = json.loads((made / name / "card.json").read_text())
        assert (card["calibration"] is None) == (scheme.method == "rtn")


def test_the_table_compares_with_high(made: Path) -> None:
    rows = {row["model"]: row for row in json.loads((made / "variants.json").read_text())["rows"]}
    assert set(rows) == {"high", *SCHEMES}
    assert rows["high"]["kl"] == rows["high"]["flips"] == 0
    assert 0 < rows["rtn-w4"]["kl"] < rows["rtn-w3"]["kl"] < rows["rtn-w2"]["kl"]
    sizes = [rows[name]["weight_bytes"] for name in ("high", "rtn-w4", "rtn-w3", "rtn-w2")]
    assert sizes == sorted(sizes, reverse=True)
    assert all(row["success"]["mean"] == 0 for row in rows.values())  # random weights win nothing
    table = (made / "variants.md").read_text()
    assert all(f"| {name} |" in table for name in rows)


def test_bytes_are_those_of_the_file(made: Path) -> None:
    row = next(r for r in json.loads((made / "variants.json").read_text())["rows"] if r["model"] == "rtn-w4")
    on_disk = (made / "rtn-w4" / "model.safetensors").stat().st_size
    assert 0.9 * on_disk < row["weight_bytes"] <= on_disk


def test_a_variant_is_played_like_any_model(made: Path, tmp_path: Path) -> None:
    pool = {"schema": 1, "name": "pair", "models": {"low": {"weights": str(made / "gptq-w3")}}}
    (tmp_path / "pool.yaml").write_text(yaml.safe_dump(pool))
    (tmp_path / "suite.yaml").write_text(
        "schema: 1\nname: s\npool: pool.yaml\ntasks:\n"
        "  - {task: alfworld-gen, split: dev, limit: 1, args: {step_cap: 2}}\nrouters: [always-low]\n"
    )
    mixroute("run", "suite.yaml", "--out", "runs", cwd=tmp_path)
    meta = json.loads(next((tmp_path / "runs").glob("*/run.json")).read_text())
    assert meta["models"]["low"]["bits"] < 16


def test_what_is_made_is_not_made_again(made: Path) -> None:
    before = (made / "rtn-w4" / "model.safetensors").stat().st_mtime_ns
    arguments = ("--recipe", "../recipe.yaml", "--out", ".", "--scheme", "rtn-w4")
    mixroute("quantize", made / "pool.yaml", *arguments, cwd=made)
    assert (made / "rtn-w4" / "model.safetensors").stat().st_mtime_ns == before


def test_a_variant_takes_a_place_in_the_pool(tmp_path: Path, tiny_pool: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    arguments = ("quantize", tiny_pool, "--recipe", "recipe.yaml", "--out", "made", "--as", "low")
    assert "name one scheme with --scheme" in mixroute(*arguments, cwd=tmp_path, code=2).stderr
    mixroute(*arguments, "--scheme", "rtn-w3", cwd=tmp_path)
    before, after = load_pool(str(tiny_pool)), load_pool(str(tmp_path / "made/pool.yaml"))
    assert set(after.models) == {*before.models, "low"}
    assert after.models["high"] == before.models["high"]
    assert Path(str(after.models["low"].weights)) == tmp_path / "made/rtn-w3"


@pytest.mark.parametrize("name", ["rtn-w4", "rtn-w4-channel", "rtn-w3", "rtn-w2"])
def test_round_to_nearest_equals_that_of_llm_compressor(made: Path, tiny_weights: Path, name: str) -> None:
    from llmcompressor import oneshot
    from llmcompressor.modifiers.quantization import QuantizationModifier

    model = AutoModelForCausalLM.from_pretrained(tiny_weights)
    groups: Any = SCHEMES[name].config_groups(64)
    oneshot(model=model, recipe=QuantizationModifier(config_groups=groups, ignore=["lm_head"]))
    model.save_pretrained(made.parent / name)
    theirs, ours = (load_file(folder / name / "model.safetensors") for folder in (made.parent, made))
    assert set(theirs) == set(ours)
    assert all(torch.equal(theirs[key], ours[key]) for key in ours)


def test_rounding_at_load_is_that_variant(
    made: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIXROUTE_CACHE", str(tmp_path))
    options = TransformersOptions(quantization="rtn-w3", kernels="unpacked")
    at_load = ModelSpec(weights=str(tiny_weights))
    for _ in range(2):  # made, then found in the cache
        model, _ = load_model("low", at_load, options)
    variant, _ = load_model("low", ModelSpec(weights=str(made / "rtn-w3")), TransformersOptions(kernels="unpacked"))
    state = variant.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    cards = [model_card("low", one, at_load, options) for one in (model, variant)]
    assert cards[0].weight_bytes == cards[1].weight_bytes
    assert cards[0].bits < 32 / 3  # the embedding keeps its 32
    with pytest.raises(MixrouteError, match="quantized already"):
        load_model("low", ModelSpec(weights=str(made / "rtn-w3")), TransformersOptions(quantization="nf4"))


def test_wrong_names_are_refused(tmp_path: Path, tiny_pool: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    arguments = ("quantize", tiny_pool, "--recipe", "recipe.yaml", "--out", "made")
    assert "did you mean 'awq-w4'" in mixroute(*arguments, "--scheme", "awq-4", cwd=tmp_path, code=2).stderr
    assert "no model 'mid'" in mixroute(*arguments, "--model", "mid", cwd=tmp_path, code=2).stderr
    assert not (tmp_path / "made").exists()


def test_groups_divide_every_width() -> None:
    scheme = get_scheme("rtn-w4")
    assert scheme.group([4096, 1024]) == 128
    assert scheme.group([576, 1536]) == 64
    with pytest.raises(MixrouteError, match="100"):
        scheme.group([100])


def test_only_models_that_are_missing_are_measured_again(made: Path) -> None:
    table = json.loads((made / "variants.json").read_text())
    table["rows"] = [row for row in table["rows"] if row["model"] != "rtn-w3"]
    other = next(row for row in table["rows"] if row["model"] == "rtn-w4")
    before, other["fingerprint"], other["kl"] = dict(other), "of other weights", 9.0
    (made / "variants.json").unlink()
    (made / "twins.json").write_text(json.dumps(table))  # where versions before 0.2 wrote it, with their command
    done = mixroute("twins", "made/pool.yaml", "--recipe", "recipe.yaml", "--out", "made", cwd=made.parent)
    played = re.findall(r"playing \d+ games with '([a-z0-9-]+)'", " ".join(done.stderr.split()))
    assert played == ["high", "rtn-w3", "rtn-w4"]
    rows = {row["model"]: row for row in json.loads((made / "variants.json").read_text())["rows"]}
    assert "rtn-w3" in rows
    assert rows["rtn-w4"] == before
