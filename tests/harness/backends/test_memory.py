"""Memory of a model that is closed goes back to the machine."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import torch
from pathlib import Path
from harness.backends.memory import keep_freed_memory, return_freed_memory

def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4 // 1024

keep_freed_memory()
weights = [torch.ones(1 << 20) for _ in range(100)]
held = torch.ones(1 << 20)  # above them in the heap, so that its end does not move
del weights
kept = resident_mib()
return_freed_memory()
print(kept - resident_mib())
"""

LOADING = """
import torch
from pathlib import Path
from harness.backends.memory import freed_memory_returned, keep_freed_memory

def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4 // 1024

def freed():
    weights = [torch.ones(1 << 20) for _ in range(100)]
    before, held = resident_mib(), torch.ones(1 << 20)
    del weights
    return before - resident_mib()

keep_freed_memory()
with freed_memory_returned():
    loading = freed()
print(loading, freed())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the settings are those of glibc")
def test_freed_memory_is_kept_until_it_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert 350 <= int(done.stdout) <= 450


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the settings are those of glibc")
def test_while_a_model_is_loaded_freed_memory_goes_back_at_once_and_is_kept_from_then_on() -> None:
    done = subprocess.run([sys.executable, "-c", LOADING], capture_output=True, text=True, check=True)
    loading, after = map(int, done.stdout.split())
    assert 350 <= loading <= 450
    assert after < 50
