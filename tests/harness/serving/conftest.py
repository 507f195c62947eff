"""Servers of scripted models."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import yaml

from mixroute import Backend
from tests.harness.serving.models import Held, echo
from tests.harness.serving.serving import Served, served
from tests.scripted import ScriptedModel

Serve = Callable[..., AbstractContextManager[Served]]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Serves a router on scripted models ``high`` and ``low``; the record is in ``tmp_path / "out"``."""
    path = tmp_path / "pool.yaml"
    models = {name: {"weights": "nowhere"} for name in ("high", "low")}
    path.write_text(yaml.safe_dump({"schema": 1, "name": "scripted", "models": models}))

    def begin(router: str, low: ScriptedModel | None = None, **settings: Any) -> AbstractContextManager[Served]:
        pool: dict[str, Backend] = {"high": ScriptedModel("high", echo), "low": low or ScriptedModel("low", echo)}
        out = settings.pop("out", tmp_path / "out")
        return served(path, router, out, pool, **settings)

    return begin


@pytest.fixture
def held() -> Held:
    """A model that waits until it is let go."""
    return Held("low")
