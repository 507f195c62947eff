"""Verification of several entries: each alone, in a process of its own, and all against one another."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from types import MappingProxyType

import msgspec

from harness.config import shipped_names
from harness.engine.identity import task_arguments
from harness.errors import MixrouteError
from harness.pool import Pool
from harness.registry import routers
from harness.suite import SHIPPED, RunConfig, load_suite
from harness.traces.store import EPISODES, read_meta
from harness.verify.clocks import check_sessions
from harness.verify.consistency import CARDS, compare_model_cards
from harness.verify.copies import check_copies
from harness.verify.encoders import open_encoders
from harness.verify.entry import FILES, Opener, open_from_json, verify_entry
from harness.verify.isolation import in_own_process
from harness.verify.labels import check_labels
from harness.verify.names import check_names
from harness.verify.pools import Pools
from harness.verify.questions import compare_answers
from harness.verify.refit import Refit
from harness.verify.report import FAILED, TRUSTED, Check, EntryVerdict

WORTH_PROCESSES = 1 << 20
"""Bytes of traces from which on it is faster to check entries side by side, as each process loads torch."""


def verify_entries(
    folders: Sequence[Path],
    *,
    load_models: bool = False,
    pools: Pools = MappingProxyType({}),
    own: bool = False,
    refit: Refit | None = None,
    trusted: Collection[Path] = (),
    processes: int | None = None,
) -> list[EntryVerdict]:
    """Verify each entry, and all against one another.

    Args:
        folders: Runs or entries.
        load_models: Whether to load the pool's weights, too, and compare them with the entry's model cards.
        pools: Pools that are not shipped.
        own: As in ``verify_entry``.
        refit: As in ``verify_entry``.
        trusted: Entries that are believed where two contradict each other.
        processes: Entries that are checked side by side; if not given, as many as there are processors, and few small
            ones one after the other.
    """
    if processes is None:
        processes = (os.cpu_count() or 1) if sum(map(_size, folders)) > WORTH_PROCESSES else 1
    processes = min(len(folders), processes)
    # Not forked from here: threads of torch and tokenizers, which this process may have, do not survive it.
    with ProcessPoolExecutor(processes, get_context("spawn"), _prepare) as pool:
        in_turn = partial(_verify_in_turn, pools=dict(pools), own=own, refit=refit)
        found = list(pool.map(in_turn, _shares(folders, processes)))
    verdicts = {folder: verdict for share in found for folder, verdict in share.items()}
    results = {folder: verdict.results for folder, verdict in verdicts.items()}
    standing = {folder: FAILED for folder, verdict in verdicts.items() if verdict.status == "failed"}
    standing |= {folder: TRUSTED for folder in trusted if folder not in standing}
    # What could not be read within the limits of a process of its own is not read here.
    whole = [
        folder
        for folder in folders
        if not any(one.check == FILES and one.status == "failed" for one in results[folder])
    ]
    copies, (answers, _) = check_copies(whole, standing), compare_answers(whole, standing, pools)
    sessions = check_sessions(whole)
    labels = {} if own else check_labels(whole, standing)
    for folder in folders:
        if load_models and folder in whole:
            cards = compare_model_cards(read_meta(folder), pools).result()
            results[folder] = [cards if result.check == CARDS else result for result in results[folder]]
        several = [checks[folder].result() for checks in (copies, answers, labels, sessions) if folder in checks]
        results[folder] = [*results[folder], *several]
    return [msgspec.structs.replace(verdicts[folder], results=results[folder]) for folder in folders]


def _prepare() -> None:
    """Keep torch to one thread, since every core has a process and forks must have no threads, and look for reference
    cycles rarely: that takes a quarter of the time, and traces have none.
    """
    import torch

    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
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


def _verify_in_turn(
    folders: Sequence[Path], pools: Mapping[str, Pool], *, own: bool, refit: Refit | None
) -> dict[Path, EntryVerdict]:
    opener = cache(open_from_json)
    return {folder: _verify_apart(folder, opener, pools, own=own, refit=refit) for folder in folders}


def _verify_apart(folder: Path, opener: Opener, pools: Pools, *, own: bool, refit: Refit | None) -> EntryVerdict:
    """Verify an entry in a process of its own."""
    try:
        _open_before(folder, opener, pools)
        content = in_own_process(lambda: msgspec.json.encode(verify_entry(folder, opener, pools, own=own, refit=refit)))
        return msgspec.json.decode(content, type=EntryVerdict)
    except (MixrouteError, msgspec.MsgspecError) as error:
        check = Check(FILES)
        check.problem("", f"verification ended: {error}")
        return EntryVerdict(folder.name, [check.result()])


def _open_before(folder: Path, opener: Opener, pools: Pools) -> None:
    """Open here, once for many entries, what shipped suites play; anything else is opened in the entry's process."""
    try:
        meta = read_meta(folder)
        config = RunConfig.model_validate(meta.config)
        if check_names(meta, config).failed:
            return
        open_encoders(meta, pools)
        routers.get(config.router)
        arguments = json.dumps(config.task_args, sort_keys=True)
        if (config.task, config.split, arguments) in _played_by_suites():
            opener(config.task, config.split, arguments).instances()
    except Exception:
        return  # whatever it is, the verdict says so


@cache
def _played_by_suites() -> frozenset[tuple[str, str, str]]:
    return frozenset(
        (entry.task, entry.split, json.dumps(task_arguments(entry), sort_keys=True))
        for name in shipped_names(SHIPPED)
        for entry in load_suite(name).tasks
    )
