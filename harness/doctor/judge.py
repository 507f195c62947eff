"""Judging the machine: what is there, what fits, and what to do about the rest."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness import registry
from harness.config import shipped_names
from harness.doctor.memory import GIB, Need, need_of
from harness.errors import MixrouteError
from harness.files import Record, cache_folder
from harness.plugins import open_task
from harness.pool import RANDOM, SHIPPED, ModelSpec, Pool, load_pool
from harness.provenance import provenance
from harness.suite import SHIPPED as SUITES
from harness.suite import load_suite

_PYTHONS = ((3, 11), (3, 12))
_MENDS = {
    "vllm": ("vllm", "make vllm-env, or the official vllm where there is CUDA (docs/backends.md)"),
    "openai": ("openai", "pip install 'mixroute[openai]'"),
    "transformers": ("transformers", "make setup"),
}
"""By backend: the package that it needs, and how to come by it."""


class Finding(Record, frozen=True):
    """One thing that was looked at."""

    what: str
    ok: bool
    said: str


class PoolFinding(Record, frozen=True):
    """Whether a pool can be run here."""

    pool: str
    ok: bool
    needs: list[Need]
    why_not: list[str]
    """Empty if it can; each with its mend."""


class Diagnosis(Record, frozen=True):
    """All of it."""

    ok: bool
    """Whether Python will do and all pools that were asked about can be run."""
    machine: list[Finding]
    backends: list[Finding]
    pools: list[PoolFinding]
    data: list[Finding]
    cache: Finding


class Machine(Record, frozen=True):
    """Memory in GiB."""

    free: float
    """Of the CPU."""
    gpus: list[float]
    """Of each GPU, what is free of it now."""


def diagnose(pools: Sequence[str] = (), machine: Machine | None = None) -> Diagnosis:
    """Look at the machine.

    Args:
        pools: Names or files of the pools that must fit; else all shipped ones are judged, and ``smollm2`` must.
        machine: Judge the pools for this one instead.

    Raises:
        MixrouteError: unknown pool, or a wrong file.
    """
    here = machine or this_machine()
    judged = [judge_pool(load_pool(name), here) for name in pools or shipped_names(SHIPPED)]
    python = Finding(
        "python",
        sys.version_info[:2] in _PYTHONS,
        f"{platform.python_version()}; mixroute runs on " + " and ".join(f"{a}.{b}" for a, b in _PYTHONS),
    )
    asked = [one for one in judged if pools or one.pool == "smollm2"]
    return Diagnosis(
        ok=python.ok and all(one.ok for one in asked),
        machine=[python, *_hardware(here)],
        backends=[_backend(name) for name in registry.backends.names()],
        pools=judged,
        data=_data(),
        cache=_cache(),
    )


def this_machine() -> Machine:
    """What is free on it now."""
    import psutil
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpus = [torch.cuda.mem_get_info(place)[0] / GIB for place in range(count)]
    return Machine(psutil.virtual_memory().available / GIB, gpus)


def judge_pool(pool: Pool, machine: Machine) -> PoolFinding:
    """Whether its backends are there, and its models fit beside one another."""
    why_not = []
    for backend in sorted({spec.backend for spec in pool.models.values()}):
        found = _backend(backend)
        if not found.ok:
            why_not.append(found.said)
    needs = []
    for name, spec in pool.models.items():
        need = need_of(name, spec)
        if need is None:
            why_not.append(f"model '{name}' has no 'shape': its memory cannot be told")
            continue
        needs.append(need)
        missing = _missing_weights(name, spec)
        if missing:
            why_not.append(missing)
    why_not += _too_large_for_gpus(needs, machine) if machine.gpus else _too_large(needs, machine.free)
    return PoolFinding(pool.name, not why_not, needs, why_not)


def _too_large(needs: Sequence[Need], free: float) -> list[str]:
    total = sum(need.total for need in needs)
    if total <= free:
        return []
    return [f"its models take {total:.1f} GiB together, and {free:.1f} GiB are free: free some, or take a GPU"]


def _too_large_for_gpus(needs: Sequence[Need], machine: Machine) -> list[str]:
    found = []
    for need in needs:
        if need.gpus > len(machine.gpus):
            found.append(
                f"model '{need.model}' wants {need.gpus} GPUs, of {len(machine.gpus)}: lower 'tensor_parallel'"
            )
        elif need.smallest_gpu > min(machine.gpus[: need.gpus]):
            found.append(
                f"model '{need.model}' takes {need.total:.1f} GiB, and {need.share:g} of a GPU with "
                f"{machine.gpus[0]:.1f} GiB free are {need.share * machine.gpus[0]:.1f}: raise 'memory_share', lower "
                f"'max_model_len', or take a GPU of {need.smallest_gpu:.0f} GiB"
            )
    shared = [need.total for need in needs if need.share == 1.0]
    if shared and sum(shared) > machine.gpus[0]:
        found.append(
            f"models that share the first GPU take {sum(shared):.1f} GiB, of {machine.gpus[0]:.1f} that are free"
        )
    return found


def _missing_weights(name: str, spec: ModelSpec) -> str:
    """Why weights cannot be had; empty if they can, as far as that can be told without a network."""
    if not isinstance(spec.weights, str) or spec.weights == RANDOM or spec.backend == "openai":
        return ""
    if Path(spec.weights).is_dir():
        return ""
    from huggingface_hub import constants, try_to_load_from_cache

    cached = try_to_load_from_cache(spec.weights, "config.json")
    if isinstance(cached, str) or not constants.HF_HUB_OFFLINE:
        return ""
    return f"weights of model '{name}', {spec.weights}, are not in the cache, and HF_HUB_OFFLINE forbids to fetch them"


def _backend(name: str) -> Finding:
    package, mend = _MENDS.get(name, (None, ""))
    if package is not None:
        there = find_spec(package) is not None
        return Finding(name, there, "installed" if there else f"backend '{name}' is not installed: {mend}")
    try:
        registry.backends.get(name)
    except MixrouteError as error:
        return Finding(name, ok=False, said=str(error))
    return Finding(name, ok=True, said="installed")


def _hardware(machine: Machine) -> list[Finding]:
    told: dict[str, Any] = provenance()
    hardware, packages = told["hardware"], told["packages"]
    memory = f"{hardware['cpu']}, {hardware['cores']} cores; {machine.free:.1f} of {hardware['memory_gib']} GiB free"
    gpus = ", ".join(
        f"{name} ({free:.1f} GiB free)" for name, free in zip(hardware["gpus"], machine.gpus, strict=False)
    )
    return [
        Finding("cpu", ok=True, said=memory),
        Finding("torch", ok=True, said=f"{packages.get('torch')}, transformers {packages.get('transformers')}"),
        Finding("gpus", ok=bool(machine.gpus), said=gpus or "none that torch can use: models run on the CPU"),
    ]


def _data() -> list[Finding]:
    """The tasks of all shipped suites, opened once each."""
    found = {}
    for suite in shipped_names(SUITES):
        for entry in load_suite(suite).tasks:
            what = f"{entry.task} {entry.split}"
            if what in found:
                continue
            try:
                count = len(open_task(entry.task, split=entry.split, **entry.args).instances())
                found[what] = Finding(what, count > 0, f"{count:,} instances")
            except MixrouteError as error:
                found[what] = Finding(what, ok=False, said=str(error))
    return [found[what] for what in sorted(found)]


def _cache() -> Finding:
    import shutil

    folder = cache_folder()
    size = sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file()) if folder.exists() else 0
    place = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(place).free / GIB
    said = f"{folder}: {size / GIB:.2f} GiB, {free:.1f} GiB free on its disk; $MIXROUTE_CACHE puts it elsewhere"
    return Finding("cache", free > 1, said)
