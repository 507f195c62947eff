"""The names in an entry's configuration: plain names of what is shipped or installed, never a file.

Nothing that an entry names is read from its paths or run, whoever wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from harness.records import RunMeta
from harness.registry import routers, tasks
from harness.suite import RunConfig
from harness.verify.report import Check

_PLAIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_FILES = (".py", ".yaml", ".yml", ".json", ".jsonl", ".safetensors", ".gguf", ".pt", ".bin", ".pkl", ".xz")
_DATA = "data"
"""The argument of a task that says where its data lies."""


def check_names(meta: RunMeta, config: RunConfig) -> Check:
    """Check that all that ``run.json`` names can be opened without a path of the entry's author."""
    check = Check("it names nothing but what is shipped or installed")
    for key, value in (("task", config.task), ("split", config.split), ("router", config.router), ("pool", meta.pool)):
        if not is_plain(value):
            check.problem("run.json", f"{key} {value[:100]!r} is no plain name: register it as a plug-in")
    for kind, name in ((tasks, config.task), (routers, config.router)):
        if is_plain(name) and name not in kind.names():
            check.problem("run.json", f"{kind.kind} {name!r} is not installed here: install its package")
    if _DATA in config.task_args:
        check.problem("run.json", f"task_args has {_DATA!r}: where data lies is no part of a published run")
    for key, arguments in (
        ("task_args", config.task_args),
        ("router_args", config.router_args),
        ("fitted", meta.fitted),
    ):
        for text in _texts(arguments):
            if not is_harmless(text):
                check.problem("run.json", f"{key} has {text[:100]!r}, which may be a path: use a shipped name")
    return check


def is_plain(name: str) -> bool:
    """Whether ``name`` may be the name of a plug-in, a pool or a split: lower-case ASCII, and no path."""
    return _PLAIN.fullmatch(name) is not None and not name.endswith(_FILES)


def is_harmless(text: str) -> bool:
    """Whether a text among the arguments cannot be taken for a path."""
    return (
        text.isascii() and len(text) <= 200 and not set(text) & set("/\\:~\0") and not text.startswith(".")
        and not text.lower().endswith(_FILES)
    )  # fmt: skip


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
