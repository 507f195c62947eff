"""Checks of the machine: what is installed, which pools fit, and how to fix the rest."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import registry
from harness.config import shipped_names
from harness.data import MemoryEstimate
from harness.doctor.findings import Finding
from harness.doctor.models import check_models
from harness.errors import MixrouteError
from harness.files import Record, cache_folder
from harness.plugins import open_task
from harness.pool import SHIPPED, ModelSpec, Pool, check_installed, estimate_memory, load_pool
from harness.provenance import provenance
from harness.suite import SHIPPED as SUITES
from harness.suite import load_suite
from harness.weights.size import GIB

_PYTHONS = ((3, 11), (3, 12))


class PoolFinding(Record, frozen=True):
    """Whether a pool can be run here."""

    pool: str
    ok: bool
    memory: dict[str, MemoryEstimate]
    """Estimates by model, where there is one."""
    problems: list[str]
    """Why it cannot be run, each with its fix."""


class Diagnosis(Record, frozen=True):
    """Results of all checks."""

    ok: bool
    """Whether the version of Python is right and all pools that were asked about can be run."""
    machine: list[Finding]
    backends: list[Finding]
    pools: list[PoolFinding]
    data: list[Finding]
    cache: Finding
    models: list[Finding]
    """How the models of the pools are run, where that was asked for."""


class Machine(Record, frozen=True):
    """Memory in GiB."""

    free: float
    """Free memory of the CPU."""
    gpus: list[float]
    """Free memory of each GPU."""


def diagnose(
    pools: Sequence[str] = (), machine: Machine | None = None, *, load: bool = False, may_fetch: bool = False
) -> Diagnosis:
    """Check the machine.

    Args:
        pools: Names or files of the pools that must fit; by default all shipped ones are checked, and ``smollm2`` must.
        machine: The machine to check the pools for; by default this one.
        load: Whether to load the models of ``pools`` and to test how they are run.
        may_fetch: Whether runs here may fetch weights from a model hub.

    Raises:
        MixrouteError: unknown pool, a wrong file, or no pool to load.
    """
    if load and not pools:
        raise MixrouteError("--check needs a pool: mixroute doctor --check POOL")
    here = machine or this_machine()
    judged = [judge_pool(load_pool(name), here, may_fetch=may_fetch) for name in pools or shipped_names(SHIPPED)]
    python = Finding(
        "python",
        sys.version_info[:2] in _PYTHONS,
        f"{platform.python_version()}; mixroute runs on " + " and ".join(f"{a}.{b}" for a, b in _PYTHONS),
    )
    models = [found for name in (pools if load else ()) for found in check_models(load_pool(name))]
    asked = [one for one in judged if pools or one.pool == "smollm2"]
    return Diagnosis(
        ok=python.ok and all(one.ok for one in asked) and all(one.ok for one in models),
        machine=[python, *_hardware(here)],
        backends=[_backend(name) for name in registry.backends.names()],
        pools=judged,
        data=_data(),
        cache=_cache(),
        models=models,
    )


def this_machine() -> Machine:
    """The machine that this runs on, with the memory that is free now."""
    import psutil
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpus = [torch.cuda.mem_get_info(place)[0] / GIB for place in range(count)]
    return Machine(psutil.virtual_memory().available / GIB, gpus)


def judge_pool(pool: Pool, machine: Machine, *, may_fetch: bool = False) -> PoolFinding:
    """Check that a pool's backends are installed, and that its models fit side by side.

    Args:
        pool: The pool.
        machine: The machine.
        may_fetch: Whether runs here may fetch weights from a model hub.
    """
    checked = (_backend(name) for name in sorted({spec.backend for spec in pool.models.values()}))
    problems = [found.message for found in checked if not found.ok]
    memory = {}
    for name, spec in pool.models.items():
        try:
            estimate = estimate_memory(spec)
        except MixrouteError as error:
            problems.append(f"model '{name}': {error}")
            continue
        if estimate is None:
            problems.append(
                f"model '{name}' has no 'shape', so its memory cannot be estimated: name one in the pool file"
            )
            continue
        memory[name] = estimate
        if estimate.weights and not may_fetch and (missing := _missing_weights(name, spec)):
            problems.append(missing)
    problems += _too_large_for_gpus(memory, machine) if machine.gpus else _too_large(memory, machine.free)
    return PoolFinding(pool.name, not problems, memory, problems)


def _too_large(memory: Mapping[str, MemoryEstimate], free: float) -> list[str]:
    total = sum(one.total for one in memory.values())
    if total <= free:
        return []
    return [f"its models take {total:.1f} GiB together, and {free:.1f} GiB are free: free some, or use a GPU"]


def _too_large_for_gpus(memory: Mapping[str, MemoryEstimate], machine: Machine) -> list[str]:
    found = []
    first = machine.gpus[0]
    for name, one in memory.items():
        if one.gpus > len(machine.gpus):
            found.append(f"model '{name}' needs {one.gpus} GPUs, of {len(machine.gpus)}: lower 'tensor_parallel'")
        elif one.smallest_gpu > min(machine.gpus[: one.gpus]):
            found.append(
                f"model '{name}' takes {one.total:.1f} GiB, and {one.memory_share:g} of a GPU with {first:.1f} GiB "
                f"free are {one.memory_share * first:.1f}: raise 'memory_share', lower 'max_model_len', or use a GPU "
                f"of {one.smallest_gpu:.0f} GiB"
            )
    shared = sum(one.total for one in memory.values() if one.memory_share == 1.0)
    if shared > first:
        found.append(f"models that share the first GPU take {shared:.1f} GiB, of {first:.1f} that are free")
    return found


def _missing_weights(name: str, spec: ModelSpec) -> str:
    """Why weights that may not be fetched cannot be loaded; empty if they can."""
    if not isinstance(spec.weights, str) or spec.has_random_weights or Path(spec.weights).is_dir():
        return ""
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(spec.weights, "config.json")
    if isinstance(cached, str):
        return ""
    return f"weights of model '{name}', {spec.weights}, are not in the cache, and HF_HUB_OFFLINE forbids fetching them"


def _backend(name: str) -> Finding:
    try:
        check_installed(name)
    except MixrouteError as error:
        return Finding(name, ok=False, message=str(error))
    return Finding(name, ok=True, message="installed")


def _hardware(machine: Machine) -> list[Finding]:
    record: dict[str, Any] = provenance()
    hardware, packages = record["hardware"], record["packages"]
    memory = f"{hardware['cpu']}, {hardware['cores']} cores; {machine.free:.1f} of {hardware['memory_gib']} GiB free"
    gpus = ", ".join(
        f"{name} ({free:.1f} GiB free)" for name, free in zip(hardware["gpus"], machine.gpus, strict=False)
    )
    return [
        Finding("cpu", ok=True, message=memory),
        Finding("torch", ok=True, message=f"{packages.get('torch')}, transformers {packages.get('transformers')}"),
        Finding("gpus", ok=bool(machine.gpus), message=gpus or "none that torch can use: models run on the CPU"),
    ]


def _data() -> list[Finding]:
    """Data of the tasks of all shipped suites; each task is opened once."""
    found = {}
    for suite in shipped_names(SUITES):
        for entry in load_suite(suite).tasks:
            subject = f"{entry.task} {entry.split}"
            if subject in found:
                continue
            try:
                count = len(open_task(entry.task, split=entry.split, **entry.args).instances())
                found[subject] = Finding(subject, count > 0, f"{count:,} instances")
            except MixrouteError as error:
                found[subject] = Finding(subject, ok=False, message=str(error))
    return [found[subject] for subject in sorted(found)]


def _cache() -> Finding:
    import shutil

    folder = cache_folder()
    size = sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file()) if folder.exists() else 0
    place = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(place).free / GIB
    message = f"{folder}: {size / GIB:.2f} GiB, {free:.1f} GiB free on its disk; $MIXROUTE_CACHE names another folder"
    return Finding("cache", free > 1, message)
