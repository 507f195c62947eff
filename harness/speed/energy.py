"""Energy of the GPUs in joules, as NVIDIA's driver counts it."""

from __future__ import annotations

from collections.abc import Callable


def energy_meter() -> tuple[Callable[[], float] | None, str]:
    """A function that returns the joules that all visible GPUs have used so far (None without one), and its source."""
    import torch

    if not torch.cuda.is_available():
        return None, "not measured: no CUDA device"
    try:
        import pynvml
    except ImportError:
        return None, "not measured: pip install nvidia-ml-py"
    try:
        pynvml.nvmlInit()
        # By UUID: NVML numbers all GPUs of the machine, CUDA only those that are visible.
        uuids = [torch.cuda.get_device_properties(place).uuid for place in range(torch.cuda.device_count())]
        handles = [pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}") for uuid in uuids]

        def joules() -> float:
            return float(sum(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in handles)) / 1000

        joules()
    except pynvml.NVMLError as error:
        return None, f"not measured: NVML says {error}"
    return joules, "NVML, nvmlDeviceGetTotalEnergyConsumption, all visible GPUs, idle power included"
