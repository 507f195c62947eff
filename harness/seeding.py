"""Seeds split by name, never by order of execution: an episode gets the same randomness whatever runs beside it."""

import hashlib
import re

_FRESH = re.compile("fresh-[0-9a-f]{16}")


def seed_for(*names: object) -> int:
    """A 63-bit seed for the thing that ``names`` name, such as ``seed_for(root, instance, step, "router")``."""
    digest = hashlib.sha256("\x1f".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def fresh_split(seed: str) -> str:
    """Name of the split of games that are drawn from ``seed``: ``fresh-`` and 16 hex digits of its SHA-256."""
    return f"fresh-{hashlib.sha256(f'fresh games {seed}'.encode()).hexdigest()[:16]}"


def is_fresh_split(split: str) -> bool:
    """Whether ``fresh_split`` gives such a name."""
    return _FRESH.fullmatch(split) is not None
