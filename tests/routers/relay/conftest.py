from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.routers.relay.talker import save_talker


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool of two small models that answer with digits; the smaller one may call the other."""
    folder = tmp_path_factory.mktemp("pair")
    save_talker(folder / "high", seed=0, commands=0, steps=60)
    save_talker(folder / "low", seed=1, commands=1, steps=120)
    path = folder / "pool.yaml"
    models = {name: {"weights": str(folder / name)} for name in ("high", "low")}
    path.write_text(yaml.safe_dump({"schema": 1, "name": "pair", "models": models}))
    return path
