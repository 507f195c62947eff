"""``mixroute doctor``, and the sizes that it goes by."""

from __future__ import annotations

import json
import re
import socket
import weakref
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, PreTrainedModel

from harness.backends.loading import load_model
from harness.config import shipped_names
from harness.doctor.findings import Finding
from harness.doctor.judge import Machine, diagnose, judge_pool
from harness.doctor.models import check_models
from harness.pool import SHAPES, SHIPPED, ModelSpec, Pool, estimate_memory, load_pool, open_backend
from harness.sharing import SharedCache
from harness.weights.rounding import rounded_folder
from harness.weights.size import packing_of, size_of
from mixroute import MixrouteError
from tests.command import mixroute
from tests.tiny_model import save_tiny_model

PUBLISHED = {
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "gemma-3-270m": 268_098_176,
    "smollm2-135m": 134_515_008,
}
"""Parameters, as the models' pages on the hub give them (total of model.safetensors)."""


@pytest.mark.parametrize("name", shipped_names(SHIPPED))
def test_every_shipped_pool_can_be_read_and_sized(name: str) -> None:
    pool = load_pool(name)
    assert {"high", "low"} <= pool.models.keys()
    high, low = (estimate_memory(pool.models[name]) for name in ("high", "low"))
    assert high is not None
    assert low is not None
    assert low.weights <= high.weights
    shares = high.memory_share, low.memory_share
    assert sum(shares) < 1 or shares == (1, 1)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_shape_has_the_parameters_of_its_model(name: str) -> None:
    assert size_of(str(SHAPES / f"{name}.json")).parameters == PUBLISHED[name]


def test_a_size_is_that_of_the_weights_on_disk(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIXROUTE_CACHE", str(tmp_path))
    shape = str(tiny_weights / "config.json")
    size = size_of(shape)
    model = AutoModelForCausalLM.from_pretrained(tiny_weights)
    assert size.parameters == model.num_parameters()
    assert size.cached_values == 2 * 2 * 2 * 16  # keys and values of 2 layers with 2 heads of width 16
    stored = (tiny_weights / "model.safetensors").stat().st_size
    assert size.weight_bytes(wide=4) == pytest.approx(stored, rel=0.02)
    packed = sum(file.stat().st_size for file in rounded_folder(tiny_weights, "rtn-w4").glob("*.safetensors"))
    # The scales of this float32 model are wider than those that are counted.
    assert size.weight_bytes(packing_of(shape, "rtn-w4"), wide=4) == pytest.approx(packed, rel=0.15)


@given(bits=st.sampled_from(["rtn-w4", "rtn-w3", "rtn-w2"]))
def test_fewer_bits_are_fewer_bytes(bits: str) -> None:
    size = size_of(str(SHAPES / "qwen3-8b.json"))
    assert size.weight_bytes(packing_of(str(SHAPES / "qwen3-8b.json"), bits)) < size.weight_bytes()


def too_large(pool: str, machine: Machine) -> list[str]:
    return [problem for problem in judge_pool(load_pool(pool), machine).problems if "GiB" in problem]


def test_a_gpu_must_hold_each_models_share() -> None:
    assert not too_large("qwen3-1.7b", Machine(64, [15.7]))
    high, low = too_large("qwen3-8b", Machine(64, [23.6]))
    assert "'high' takes 17.4 GiB, and 0.6 of a GPU with 23.6 GiB free are 14.2" in high
    assert "a GPU of 29 GiB" in high
    assert "'low'" in low
    assert not too_large("qwen3-8b", Machine(64, [39.4]))


def test_without_a_gpu_the_memory_must_hold_all() -> None:
    assert not too_large("qwen3-1.7b", Machine(12, []))
    assert "take 8.2 GiB together, and 4.0 GiB are free" in too_large("qwen3-1.7b", Machine(4, []))[0]


def test_gpus_that_are_not_there_are_missed() -> None:
    pool = load_pool("qwen3-8b")
    spec = pool.models["high"].model_copy(update={"options": {"tensor_parallel": 4}})
    found = judge_pool(pool.model_copy(update={"models": {"high": spec}}), Machine(64, [80, 80]))
    assert any("needs 4 GPUs, of 2" in problem for problem in found.problems)


def test_what_runs_elsewhere_takes_nothing_here() -> None:
    estimate = estimate_memory(ModelSpec(backend="openai", weights="served"))
    assert estimate is not None
    assert estimate.total == 0


PLUG_IN = """
class Plain:
    pass

from harness.contracts import BackendTraits
from harness.data import MemoryEstimate

class Described(BackendTraits):
    required_packages = ("json", "no_such_package")
    install_hint = "pip install no-such-package"

    @classmethod
    def estimate_memory(cls, shape, options):
        return MemoryEstimate(weights=options["gib"])
"""


def test_a_plug_in_is_asked_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "backend.py").write_text(PLUG_IN)
    described = ModelSpec(backend=f"{tmp_path}/backend.py:Described", weights=str(tmp_path), options={"gib": 5})
    plain = ModelSpec(backend=f"{tmp_path}/backend.py:Plain", weights="anything")
    pool = Pool(schema=1, name="plugged", models={"high": described, "low": plain})
    found = judge_pool(pool, Machine(4, []))
    assert {name: estimate.total for name, estimate in found.memory.items()} == {"high": 5, "low": 0}
    missing, large = found.problems
    assert "is not installed (no package no_such_package): pip install no-such-package" in missing
    assert "5.0 GiB together" in large
    with pytest.raises(MixrouteError, match="pip install no-such-package"):
        open_backend("high", described, deterministic=False)


def test_a_backend_that_is_not_installed_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.pool.find_spec", lambda package: None)
    problem, *_ = judge_pool(load_pool("qwen3-1.7b"), Machine(64, [80])).problems
    assert "backend 'vllm' is not installed (no package vllm): make vllm-env" in problem
    assert not judge_pool(load_pool("smollm2"), Machine(64, [])).problems
    with pytest.raises(MixrouteError, match=r"pip install 'mixroute\[openai\]'"):
        open_backend("high", ModelSpec(backend="openai", weights="served"), deterministic=False)


def test_random_weights_are_refused_where_the_backend_runs_none() -> None:
    shape = str(SHAPES / "smollm2-135m.json")
    with pytest.raises(MixrouteError, match="'high': backend 'openai' does not run random weights"):
        open_backend("high", ModelSpec(backend="openai", weights="random", shape=shape), deterministic=False)


def test_a_wrong_option_is_a_problem_of_the_pool() -> None:
    pool = load_pool("qwen3-8b")
    spec = pool.models["high"].model_copy(update={"options": {"memory_shair": 0.5}})
    problems = judge_pool(pool.model_copy(update={"models": {"high": spec}}), Machine(64, [80])).problems
    assert any("did you mean 'memory_share'" in problem for problem in problems)


def test_the_command_judges_what_it_is_asked_about(tmp_path: Path) -> None:
    diagnosis = json.loads(mixroute("doctor", "smollm2", "--json", cwd=tmp_path).stdout)
    assert diagnosis["ok"]
    assert diagnosis["models"] == []
    assert [one["pool"] for one in diagnosis["pools"]] == ["smollm2"]
    assert {"transformers", "vllm", "openai"} <= {one["subject"] for one in diagnosis["backends"]}
    assert any(one["subject"] == "alfworld-gen test" and one["ok"] for one in diagnosis["data"])
    (tmp_path / "pool.yaml").write_text(
        "{schema: 1, name: large, models: {high: {weights: random, shape: qwen3-8b, options: {kv_cache_mb: 9000000}}}}"
    )
    shown = mixroute("doctor", "pool.yaml", cwd=tmp_path, code=1).stdout
    assert "no  large" in shown
    assert "GiB are free" in shown or "raise 'memory_share'" in shown or "that are free" in shown


def test_models_are_loaded_and_tested_on_request(tiny_pool: Path, tmp_path: Path) -> None:
    high, low = check_models(load_pool(str(tiny_pool)))
    assert (high.subject, high.ok, low.ok) == ("tiny high", True, True)
    padded = r"(, padded to \d+ rows in deterministic mode)?"
    compared = r"compared: texts of 1, 5, 13, 96 tokens alone, in a batch and continued, within 0\.001 nats"
    assert re.fullmatch(f"LlamaForCausalLM: packed{padded}; {compared}", high.message)
    save_tiny_model(tmp_path / "broken")
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"not weights")
    spec = ModelSpec(weights=str(tmp_path / "broken"))
    broken, served = check_models(
        Pool(schema=1, name="p", models={"high": spec, "low": ModelSpec(backend="openai", weights="served")})
    )
    assert not broken.ok
    assert "LlamaForCausalLM" in broken.message
    assert (served.ok, served.message[:11]) == (True, "not checked")


def test_models_that_are_to_share_caches_are_asked_whether_they_can(tiny_weights: Path, tmp_path: Path) -> None:
    def checked(low: ModelSpec, reread: int) -> Finding:
        models = {"high": ModelSpec(weights=str(tiny_weights)), "low": low}
        *_, found = check_models(
            Pool(schema=1, name="p", models=models, kv_cache=SharedCache(shared=[*models], reread=reread))
        )
        return found

    alike = ModelSpec(weights=str(tiny_weights), options={"quantization": "rtn-w4-channel"})
    told = "high, low share each episode's key-value cache"
    assert checked(alike, 0) == Finding("p kv_cache", ok=True, message=told)
    assert checked(alike, 2) == Finding("p kv_cache", ok=True, message=f"{told}, and read the last 2 turns anew")
    other = checked(ModelSpec(weights=str(tiny_weights), options={"dtype": "bfloat16"}), 0)
    assert not other.ok
    assert "models 'high' and 'low' cannot share a cache: they differ in shape or type of keys" in other.message


@pytest.mark.parametrize(
    ("kernels", "says"),
    [
        ("packed", "linear layers W4A8 by "),
        ("unpacked", "linear layers unpacked, at the speed of dense weights; packed"),
    ],
)
def test_what_computes_quantized_layers_is_told(tiny_weights: Path, kernels: str, says: str) -> None:
    options = {"quantization": "rtn-w4-channel", "kernels": kernels}
    spec = ModelSpec(weights=str(tiny_weights), options=options)
    (found,) = check_models(Pool(schema=1, name="p", models={"low": spec}))
    assert found.message.startswith(f"LlamaForCausalLM: {says}")


def test_a_model_is_freed_before_the_next_is_loaded(tiny_pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[weakref.ref[PreTrainedModel]] = []

    def loading(*arguments: Any) -> Any:
        assert not [one for one in held if one() is not None]
        model, tokenizer = load_model(*arguments)
        vars(model)["itself"] = [model]  # as models hold themselves in hooks: only a collection frees it
        held.append(weakref.ref(model))
        return model, tokenizer

    monkeypatch.setattr("harness.backends.loading.load_model", loading)
    assert [one.message[:10] for one in check_models(load_pool(str(tiny_pool)))] == ["LlamaForCa"] * 2
    assert len(held) == 2


def test_the_check_of_models_needs_a_pool() -> None:
    with pytest.raises(MixrouteError, match="--check needs a pool"):
        diagnose(load=True)


def test_no_hub_is_asked_unless_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection would go through the proxy, which counts them."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.setblocking(False)
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        env = {"HTTP_PROXY": address, "HTTPS_PROXY": address, "NO_PROXY": "", "HF_HOME": str(tmp_path)}
        shown = mixroute("doctor", "qwen3-1.7b", cwd=tmp_path, env=env, code=1).stdout
        with pytest.raises(BlockingIOError):
            proxy.accept()
    assert "reasoning test: gsm8k cannot be opened" in shown
    assert "weights of model" not in shown  # a run may fetch them
