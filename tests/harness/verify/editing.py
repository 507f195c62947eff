"""Published entries as plain data, to be edited, and what ``mixroute verify`` finds in them afterwards."""

from __future__ import annotations

import json
import lzma
import shutil
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from harness.engine.identity import run_hash, run_id
from harness.suite import RunConfig
from harness.traces.contamination import read_seen, write_seen
from harness.traces.store import find_runs, read_episodes, read_meta, read_timings
from harness.verify.entry import verify_entry
from harness.verify.pools import Pools
from tests.shared_data import REPOSITORY

RESULTS = REPOSITORY / "results"

Entry = dict[str, Any]
"""``run`` (the content of run.json), ``episodes`` and ``timings`` (their lines)."""


def read(folder: Path) -> Entry:
    return {
        "run": json.loads((folder / "run.json").read_text()),
        "episodes": [msgspec.to_builtins(episode) for episode in read_episodes(folder)],
        "timings": [msgspec.to_builtins(timing) for timing in read_timings(folder)],
    }


def write(entry: Entry, folder: Path) -> None:
    (folder / "run.json").write_text(json.dumps(entry["run"]))
    for name in ("episodes", "timings"):
        body = "".join(json.dumps(line) + "\n" for line in entry[name])
        (folder / f"{name}.jsonl.xz").write_bytes(lzma.compress(body.encode()))


def copy_publication(folder: Path) -> None:
    """Copy the published entries of one group (the default suite's on ALFWorld), with their lock file, evidence and
    calibration run.
    """
    for kind in ("entries", "calibration"):
        for run in find_runs(RESULTS / kind):
            if read_meta(run).task == "alfworld-gen" and read_meta(run).limit == 4:
                shutil.copytree(run, folder / kind / run.name)
    shutil.copy(RESULTS / "lock.json", folder)
    shutil.copytree(RESULTS / "evidence", folder / "evidence")


def copy_inline(packed: Path, folder: Path) -> None:
    """Copy an entry with its statistics inline, so that it can be read and edited away from its siblings."""
    folder.mkdir()
    write(read(packed), folder)
    write_seen(folder, read_seen(packed))


def named_anew(entry: Entry) -> None:
    """A careful cheat sets the hashes right."""
    run = entry["run"]
    config = RunConfig.model_validate(run["config"])
    prints = {name: card["fingerprint"] for name, card in run["models"].items()}
    run["hash"], run["group"] = run_hash(config, run["protocol"], prints, run["fitted"], run["content"])
    run["id"] = run_id(config, run["label"], run["hash"])
    for episode in entry["episodes"]:
        episode["run"] = run["hash"]


def failed(folder: Path, pools: Pools = MappingProxyType({}), *, own: bool = False) -> set[str]:
    verdict = verify_entry(folder, pools=pools, own=own)
    return {result.check for result in verdict.results if result.status == "failed"}
