"""Entries of a tiny model that writes letters, so that its texts are split into the tokens that it wrote."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from harness.engine.runner import SuiteRunner
from harness.suite import load_suite
from harness.traces.pack import pack_run
from harness.traces.store import find_runs, read_meta
from tests.tiny_model import save_tiny_model

LETTERS = "abcdefgh"


def save_pool(folder: Path, *, merged: bool = False) -> Path:
    """A pool file in ``folder``, named ``writer``: two such models.

    Args:
        folder: Where to; the models lie beside it.
        merged: Whether the tokenizer splits a text into pairs of letters, which the models do not write.
    """
    for name, seed in (("high", 0), ("low", 1)):
        save_tiny_model(folder / name, seed, letters=LETTERS)
        if merged:
            merge_letters(folder / name / "tokenizer.json")
    path = folder / "pool.yaml"
    models = {name: {"weights": str(folder / name)} for name in ("high", "low")}
    path.write_text(yaml.safe_dump({"schema": 1, "name": "writer", "models": models}))
    return path


def merge_letters(path: Path) -> None:
    """Give the pairs of letters the tokens of bytes that no ASCII text has."""
    tokenizer = json.loads(path.read_text())
    pairs = list(product(LETTERS, LETTERS))
    vocabulary = tokenizer["model"]["vocab"]
    for byte, pair in zip(range(0xC0, 0x100), pairs, strict=True):
        vocabulary["".join(pair)] = vocabulary.pop(chr(byte))
    tokenizer["model"]["merges"] = [list(pair) for pair in pairs]
    path.write_text(json.dumps(tokenizer))


def play(folder: Path, pool: Path, routers: list[Any], **settings: Any) -> Path:
    """Play three games of three steps each; returns the folder of the entries."""
    suite = {
        "schema": 1,
        "name": "honest",
        "pool": str(pool),
        "tasks": [{"task": "alfworld-gen", "split": "test", "limit": 3, "args": {"step_cap": 3}}],
        "routers": routers,
        **settings,
    }
    (folder / "suite.yaml").write_text(yaml.safe_dump(suite))
    SuiteRunner(load_suite(str(folder / "suite.yaml")), folder / "runs", Console(quiet=True)).run()
    for run in find_runs(folder / "runs"):
        pack_run(run, folder / "entries")
    return folder / "entries"


def of_router(entries: Path, router: str) -> Path:
    """The entry of a router."""
    return next(folder for folder in find_runs(entries) if read_meta(folder).router == router)
