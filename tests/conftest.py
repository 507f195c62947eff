"""Shared fixtures. Nothing may reach a model hub."""

from __future__ import annotations

import os
import signal

os.environ["HF_HUB_OFFLINE"] = "1"

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, settings

from harness.pool import Pool, load_pool, open_backend
from mixroute import Backend
from tests.tiny_model import save_tiny_model

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so shells start jobs in the background, and children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No limit of time: how long an example takes depends on what else runs.
timeless = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", timeless, derandomize=True)  # the same examples in every run
settings.register_profile("random", timeless, max_examples=2000, print_blob=True)  # make fuzz
settings.load_profile("ci")  # pytest's --hypothesis-profile is applied after this


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with random weights and a byte-level tokenizer, as a folder that transformers reads."""
    folder = tmp_path_factory.mktemp("weights") / "tiny"
    save_tiny_model(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_pool(tiny_weights: Path) -> Path:
    """A pool file: the tiny model as it is and packed to four bits."""
    models = {
        "high": {"weights": str(tiny_weights)},
        "low": {"weights": str(tiny_weights), "options": {"quantization": "nf4"}},
    }
    path = tiny_weights.parent / "pool.yaml"
    path.write_text(yaml.safe_dump({"schema": 1, "name": "tiny", "models": models}))
    return path


@pytest.fixture(scope="session")
def tiny_pools(tiny_pool: Path) -> dict[str, Pool]:
    """The pool of ``tiny_pool`` by its name, as ``verify_entry`` takes it."""
    return {"tiny": load_pool(str(tiny_pool))}


@pytest.fixture(scope="module")
def smollm2() -> Iterator[dict[str, Backend]]:
    """The models of the shipped pool, loaded."""
    models = {}
    for name, spec in load_pool("smollm2").models.items():
        models[name] = open_backend(name, spec, deterministic=True)
    yield models
    for model in models.values():
        model.close()
