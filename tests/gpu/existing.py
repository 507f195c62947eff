"""The tests that backend ``transformers`` has anyway, run on this machine, where their packages are installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.gpu.machine import missing
from tests.gpu.results import Budget, Results

_TESTS = (
    "tests/harness/backends/quantized/test_layers.py",
    "tests/harness/backends/test_transformers.py",
    "tests/harness/backends/test_session_caches.py",
    "tests/harness/backends/test_scoring.py",
    "tests/harness/backends/test_self_test.py",
)
_ROOT = Path(__file__).parents[2]


def run_existing_tests(results: Results, budget: Budget) -> None:
    """Run the tests with tiny models; ``device: auto`` takes CUDA where there is one."""
    absent = [name for name, purpose in missing().items() if "pytest" in purpose]
    if absent or budget.left < 10:
        results.add("pytest", skipped=True, why=f"missing: {', '.join(absent)}" if absent else "no time left")
        return
    command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=", "-m", "not slow and not model", *_TESTS]
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
