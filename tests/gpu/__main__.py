"""``python -m tests.gpu --out runs/gpu``: what ``make gpu`` runs.

It needs PyTorch and transformers, no network and no virtual environment, and ends within ten minutes. What is found is
written line by line to ``results.jsonl`` in the folder, the most valuable first, and each shape's speed card beside it
(``card-SHAPE.json``, for ``mixroute board --card``).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.gpu.machine import missing

SHAPES = "qwen3-1.7b,qwen3-8b,qwen3-4b"
_NUMBERS = {"concurrency": "16,1,64,4", "length": "128,512", "decode": "32", "rows": "1,4,16,64,128,512,2048"}
_TINY = {"concurrency": "1,2", "length": "48", "decode": "4", "rows": "1,16"}


def main() -> int:
    """Run all parts; 1 if one of them failed."""
    parser = argparse.ArgumentParser("python -m tests.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="folder of the results")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--shapes", default=SHAPES, help="shapes of harness/pools/shapes; tiny tries the script")
    parser.add_argument("--seconds", type=float, default=540, help="for all parts together")
    for name in _NUMBERS:
        parser.add_argument(f"--{name}", help=f"{_NUMBERS[name]} if not given, in this order")
    chosen = parser.parse_args()
    absent = missing()
    print("missing:", ", ".join(f"{name} ({what})" for name, what in absent.items()) or "nothing", flush=True)
    from tests.gpu.parts import run_parts  # which takes seconds, and may fail for what is missing
    from tests.gpu.products import Plan

    shapes = chosen.shapes.split(",")
    defaults = _TINY if shapes == ["tiny"] else _NUMBERS
    numbers = {name: [int(one) for one in (getattr(chosen, name) or defaults[name]).split(",")] for name in _NUMBERS}
    plan = Plan(chosen.device, numbers["concurrency"], numbers["length"], numbers["decode"][0], numbers["rows"])
    return run_parts(chosen.out, shapes, plan, chosen.seconds)


if __name__ == "__main__":
    sys.exit(main())
