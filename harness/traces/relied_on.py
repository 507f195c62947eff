"""What readers of ``run.json`` rely on below the fields that ``RunMeta`` declares."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from harness.records import Amount


class _Config(msgspec.Struct):
    """Settings that readers rely on, as far as ``run.json`` has them."""

    task: str = ""
    split: str = ""
    router: str = ""
    pool: str = ""
    task_args: dict[str, Any] = {}
    router_args: dict[str, Any] = {}
    limit: Annotated[int, msgspec.Meta(ge=1)] | None = None
    mode: str | None = None
    temperature: Amount | None = None


class _Git(msgspec.Struct):
    commit: str = ""


class _PlayedOn(msgspec.Struct):
    """Versions and machine that played some instances of a merged run, see ``harness.traces.parts``."""

    instances: list[str]
    hardware: dict[str, Any] | None = None


class _Provenance(msgspec.Struct):
    """What readers show of it."""

    time: str | None = None
    hardware: dict[str, Any] | None = None
    packages: dict[str, Any] | None = None
    router: dict[str, Any] | None = None
    git: _Git | None = None
    played_on: list[_PlayedOn] = []


class _Card(msgspec.Struct):
    details: dict[str, Any] | None = None


class ReliedOn(msgspec.Struct):
    """What is below the fields that ``RunMeta`` declares."""

    config: _Config
    provenance: _Provenance
    models: dict[str, _Card]
