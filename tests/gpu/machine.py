"""What the machine has, and what of mixroute's packages it lacks."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch

EXISTING_TESTS = "the existing tests"
OPTIONAL = {
    "pydantic": EXISTING_TESTS,
    "msgspec": EXISTING_TESTS,
    "compressed_tensors": EXISTING_TESTS,
    "platformdirs": EXISTING_TESTS,
    "pytest": EXISTING_TESTS,
    "hypothesis": EXISTING_TESTS,
    "rich": EXISTING_TESTS,
    "typer": EXISTING_TESTS,
    "bitsandbytes": "the existing tests of NF4",
    "psutil": "memory of the machine on the cards",
    "pynvml": "joules (nvidia-ml-py)",
}
"""Packages, by the name of their module, and what is left out without them."""


def missing() -> dict[str, str]:
    """The optional packages that are not installed, and what is left out for it."""
    return {name: purpose for name, purpose in OPTIONAL.items() if not _installed(name)}


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ValueError:  # blocked in sys.modules
        return False


def provenance_of_run() -> dict[str, Any]:
    """The provenance that a speed card has; of the hardware the least that one needs where psutil is missing."""
    from harness import provenance

    try:
        return provenance.provenance()
    except ModuleNotFoundError:
        gpus = [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
        hardware = {"cpu": provenance.cpu_name(), "threads": torch.get_num_threads(), "gpus": gpus}
        return {"packages": {"torch": torch.__version__}, "hardware": hardware}
