"""Verification of several entries: each alone, in several processes where that pays, and all against one another."""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import msgspec

from harness.errors import MixrouteError
from harness.traces.store import EPISODES, read_meta, read_timings
from harness.verify.entry import open_from_json, verify_entry
from harness.verify.report import Check, EntryVerdict

WORTH_PROCESSES = 1 << 20
"""Bytes of traces from which on it is faster to check entries in several processes, each of which loads torch."""


def verify_entries(folders: Sequence[Path], *, load_models: bool = False) -> list[EntryVerdict]:
    """Verify each entry, and that none is a copy of another; ``load_models`` as in ``verify_entry``."""
    processes = min(len(folders), os.cpu_count() or 1)
    if processes > 1 and not load_models and sum(map(_size, folders)) > WORTH_PROCESSES:
        # Not forked: threads of torch and tokenizers do not survive it.
        with ProcessPoolExecutor(processes, get_context("spawn"), _prepare) as pool:
            found = list(pool.map(_verify_in_turn, _shares(folders, processes)))
    else:
        found = [_verify_in_turn(folders, load_models=load_models)]
    verdicts = {folder: verdict for share in found for folder, verdict in share.items()}
    copies = _copies(folders)
    return [
        msgspec.structs.replace(verdicts[folder], results=[*verdicts[folder].results, copies[folder].result()])
        for folder in folders
    ]


def _prepare() -> None:
    """Keep torch to one thread, since every core has a process, and look for reference cycles rarely: that takes a
    quarter of the time, and traces have none.
    """
    import torch

    torch.set_num_threads(1)
    gc.freeze()
    gc.set_threshold(200_000)


def _shares(folders: Sequence[Path], count: int) -> list[list[Path]]:
    """The folders in parts of about equal size; those of one task stay together, since a process opens a task once."""
    shares: list[list[Path]] = [[] for _ in range(count)]
    ordered = sorted(folders, key=lambda folder: folder.name)
    whole, reached = sum(map(_size, ordered)), 0
    for folder in ordered:
        shares[min(count - 1, reached * count // max(1, whole))].append(folder)
        reached += _size(folder)
    return shares


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob(f"{EPISODES}*"))


def _verify_in_turn(folders: Sequence[Path], *, load_models: bool = False) -> dict[Path, EntryVerdict]:
    opener = cache(open_from_json)
    return {folder: verify_entry(folder, opener, load_models=load_models) for folder in folders}


def _copies(folders: Sequence[Path]) -> dict[Path, Check]:
    """The check of each folder that its run and its measured times, which never repeat by chance, are no other's."""
    checks = {folder: Check("it is no copy of another entry") for folder in folders}
    first: dict[str, Path] = {}
    for folder in folders:
        try:
            own = {f"run {read_meta(folder).hash}"}
            for timing in read_timings(folder):
                if timing.steps:
                    steps = [(step.environment, step.router) for step in timing.steps]
                    own.add(f"times {timing.reset} {steps}")
        except MixrouteError:
            continue
        copied = Counter(first[key] for key in own if key in first)
        for other, count in copied.items():
            what = "run" if f"run {read_meta(folder).hash}" in own and count == 1 else "measured times of episodes"
            checks[folder].problem("", f"it shares the {what} with {other.name} ({count})")
        for key in own:
            first.setdefault(key, folder)
    return checks
