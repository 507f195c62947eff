"""Figures that papers claim for their systems. A claim is no measurement: it stands in a column of its own."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec
import yaml

_FILE = Path(__file__).parent / "claims.yaml"


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A published figure."""

    router: str
    tasks: list[str]
    """Tasks of mixroute that are nearest to what was measured."""
    text: str
    """The figure, with its model, and the figures to compare it with."""
    source: str
    """Paper and version."""


def claims_of(router: str, task: str) -> list[Claim]:
    """The claims of the system that ``router`` implements, on the task or its official form."""
    return [claim for claim in _claims() if claim.router == router and task in claim.tasks]


@cache
def _claims() -> list[Claim]:
    return msgspec.convert(yaml.safe_load(_FILE.read_text(encoding="utf-8")), list[Claim])
