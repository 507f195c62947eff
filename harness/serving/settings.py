"""Settings of ``mixroute serve``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from harness.config import NAME
from harness.errors import MixrouteError
from harness.suite import Mode
from harness.text import quoted


@dataclass(frozen=True, slots=True)
class Settings:
    """What is served, and within which limits.

    Raises:
        MixrouteError: a value that is none.
    """

    pool: str
    router: str
    """The router, as ``harness.suite.parse_router`` reads it."""
    out: Path | None
    """Folder of the record; None to keep none."""
    name: str = "served"
    """What the sessions are of: the task of their runs."""
    mode: Mode = "deterministic"
    seed: int = 0
    temperature: float = 0.0
    """Of requests that state none."""
    max_tokens: int = 512
    """Of chat requests that state none."""
    longest: int = 8192
    """Most tokens that a request may ask for."""
    key: str = field(default="", repr=False)
    """What clients must show; empty where none is demanded."""
    running: int = 64
    """Requests that are answered at once."""
    waiting: int = 256
    """Further requests that wait; still others are refused."""
    sessions: int = 1024
    """Most open sessions."""
    session_age: float = 1800.0
    """Seconds after its last request at which a session is closed."""
    body_bytes: int = 4 << 20
    """Most bytes of a request."""
    router_timeout: float = 60.0
    """Seconds that a router may spend between two questions to models."""
    model_timeout: float = 3600.0
    """Seconds in which a model that is asked must answer something."""
    reuse: bool = False
    """Whether greedy answers come from the completion cache, and go there."""

    def __post_init__(self) -> None:
        """Check what a command line may hold."""
        if self.mode not in get_args(Mode):
            raise MixrouteError(f"--mode {quoted(self.mode)}: use one of {', '.join(get_args(Mode))}")
        if not re.fullmatch(NAME, self.name):
            raise MixrouteError(f"--name {quoted(self.name)}: use small letters, digits and ._-")
        if self.max_tokens > self.longest:
            raise MixrouteError(f"--max-tokens {self.max_tokens}: more than --most-tokens {self.longest}: raise that")
