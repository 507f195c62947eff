"""The tests that backend ``transformers`` has anyway, run on this machine, where their packages are installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.gpu.machine import EXISTING_TESTS, missing
from tests.gpu.results import Budget, Results

_TESTS = (
    "tests/harness/backends/quantized/test_layers.py",
    "tests/harness/backends/test_transformers.py",
    "tests/harness/backends/test_session_caches.py",
    "tests/harness/backends/test_scoring.py",
    "tests/harness/backends/test_self_test.py",
)
_ROOT = Path(__file__).parents[2]
_LEAST_SECONDS = 10


def can_run() -> bool:
    """Whether the packages that the tests need are installed."""
    return not _absent()


def _absent() -> list[str]:
    return [name for name, purpose in missing().items() if purpose == EXISTING_TESTS]


def run_existing_tests(results: Results, budget: Budget) -> None:
    """Run the tests with tiny models; ``device: auto`` takes CUDA where there is one."""
    if not can_run() or budget.left < _LEAST_SECONDS:
        why = "no time left" if can_run() else f"missing: {', '.join(_absent())}"
        results.add("pytest", skipped=True, why=why)
        return
    command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=", "-m", "not slow and not model", *_TESTS]
    if "bitsandbytes" in missing():
        command += ["-k", "not nf4 and not counts_what_is_stored"]
    log = results.folder / "pytest.txt"
    with log.open("w", encoding="utf-8") as output:
        try:
            done = subprocess.run(
                command, cwd=_ROOT, stdout=output, stderr=subprocess.STDOUT, timeout=budget.left, check=False
            )
            code: int | None = done.returncode
        except subprocess.TimeoutExpired:
            code = None
    lines = log.read_text(encoding="utf-8").strip().splitlines()
    failed = [line for line in lines if line.startswith("FAILED")]
    results.add("pytest", passed=code == 0, timed_out=code is None, last=lines[-1:], failures=failed[:20])
