"""Published entries as plain data, to be edited, and what ``mixroute verify`` finds in them afterwards."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

from harness.engine.identity import run_hash, run_id
from harness.suite import RunConfig
from harness.verify.entry import verify_entry

Entry = dict[str, Any]
"""``run`` (the content of run.json), ``episodes`` and ``timings`` (their lines)."""


def read(folder: Path) -> Entry:
    entry: Entry = {"run": json.loads((folder / "run.json").read_text())}
    for name in ("episodes", "timings"):
        lines = lzma.decompress((folder / f"{name}.jsonl.xz").read_bytes()).splitlines()
        entry[name] = [json.loads(line) for line in lines]
    return entry


def write(entry: Entry, folder: Path) -> None:
    (folder / "run.json").write_text(json.dumps(entry["run"]))
    for name in ("episodes", "timings"):
        body = "".join(json.dumps(line) + "\n" for line in entry[name])
        (folder / f"{name}.jsonl.xz").write_bytes(lzma.compress(body.encode()))


def named_anew(entry: Entry) -> None:
    """A careful cheat sets the hashes right."""
    run = entry["run"]
    config = RunConfig.model_validate(run["config"])
    prints = {name: card["fingerprint"] for name, card in run["models"].items()}
    run["hash"], run["group"] = run_hash(config, run["protocol"], prints, run["fitted"])
    run["id"] = run_id(config, run["pool"], run["label"], run["hash"])
    for episode in entry["episodes"]:
        episode["run"] = run["hash"]


def failed(folder: Path) -> set[str]:
    return {result.check for result in verify_entry(folder).results if result.status == "failed"}
