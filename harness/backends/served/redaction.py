"""What of an endpoint's settings may be shown: keys and passwords go into no record and no message."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

HIDDEN = "***"
_SHORTEST = 4
"""Shorter values are no secrets, and would occur in any text."""


def shown_url(url: str) -> str:
    """``url`` without its user name, password, fragment and the values of its query; one without them as it is."""
    try:
        parts = urlsplit(url)
        names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    except ValueError:
        return re.sub(r"//.*", f"//{HIDDEN}", url)
    if not parts.query and not parts.fragment and "@" not in parts.netloc:
        return url
    host = parts.netloc.rpartition("@")[2]
    query = "&".join(f"{name}={HIDDEN}" for name in names)
    return urlunsplit(parts._replace(netloc=host, query=query, fragment=""))


def shown_values(value: object) -> Any:  # noqa: ANN401 - JSON
    """``value`` with ``***`` for every text in it; numbers and names of keys stay."""
    if isinstance(value, Mapping):
        return {key: shown_values(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [shown_values(one) for one in value]
    return HIDDEN if isinstance(value, str) else value


def secrets_in(url: str, *values: object) -> list[str]:
    """What ``redacted`` must take out: the credentials of ``url``, and every text in ``values``; the longest first."""
    parts = urlsplit(url)
    user = parts.netloc.rpartition("@")[0]
    password = user.partition(":")[2]
    found = {user, password, unquote(user), unquote(password), parts.query}
    found |= {value for _, value in parse_qsl(parts.query)}
    found |= {piece.partition("=")[2] for piece in parts.query.split("&")}
    found |= set(_texts(values))
    return sorted((one for one in found if len(one) >= _SHORTEST), key=len, reverse=True)


def redacted(text: str, secrets: list[str]) -> str:
    """``text`` that an endpoint wrote, with ``***`` for each of the secrets. In our own words they would be chance."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return text


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
