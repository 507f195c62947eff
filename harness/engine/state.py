"""State that a router keeps on itself. One object plays all episodes, so its decisions would depend on their order."""

from __future__ import annotations

from harness.contracts import Router

_PLAIN = (bool, int, float, str, bytes, type(None))


def state_of(router: Router) -> dict[str, str]:
    """The attributes of a router that hold plain values and collections of such, as text; the rest is not looked at."""
    return {name: repr(value) for name, value in getattr(router, "__dict__", {}).items() if _is_plain(value)}


def changed_state(router: Router, before: dict[str, str]) -> list[str]:
    """The attributes that have changed since ``state_of`` gave ``before``, sorted.

    One that holds something else than plain values by now, such as a model that was loaded when it was first needed, is
    not among them.
    """
    return sorted(name for name, value in state_of(router).items() if before.get(name) != value)


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(_is_plain(key) and _is_plain(one) for key, one in value.items())
    return isinstance(value, _PLAIN)
