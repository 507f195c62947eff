"""What was measured, in tables of text."""

from __future__ import annotations

from statistics import median
from typing import Any

from tests.gpu.results import Results

PHASES = ("prefill", "decode")


def print_summary(results: Results) -> None:
    """Print passed and failed checks, times of calls by model, and the price of a cache each."""
    records = results.records
    for part in ("layers", "contract", "pytest"):
        own = [record for record in records if record["part"] == part]
        bad = [record for record in own if record.get("passed") is False or "failed" in record]
        print(f"{part}: {sum(record.get('passed') is True for record in own)} passed, {len(bad)} failed")
        for record in bad:
            print(f"  {record}")
    for line in [*_products(records), *_calls(records), *_caches(records)]:
        print(line)


def _products(records: list[dict[str, Any]]) -> list[str]:
    found = [record for record in records if record["part"] == "products" and "rows" in record]
    lines = ["products: shape, outputs x inputs, rows: bf16 us, W4A16 us, ratio"] if found else []
    for one in found:
        ratio = one["packed_us"] / one["dense_us"]
        size = f"{one['outputs']} x {one['inputs']}"
        lines.append(f"  {one['shape']} {size} {one['rows']}: {one['dense_us']:.1f} {one['packed_us']:.1f} {ratio:.2f}")
    return lines


def _calls(records: list[dict[str, Any]]) -> list[str]:
    cells: dict[tuple[str, int, int], dict[str, list[dict[str, Any]]]] = {}
    for record in records:
        if record["part"] == "calls" and "model" in record:
            key = record["shape"], record["concurrency"], record["length"]
            cells.setdefault(key, {}).setdefault(record["model"], []).append(record)
    lines = (
        ["calls: shape, at once x tokens: ms a token of prefill and decode, bf16, W4A16, ratio; mJ"] if cells else []
    )
    for (shape, concurrency, length), models in cells.items():
        if len(models) < 2:
            continue
        parts = []
        for phase in PHASES:
            high, low = (median(one[phase] for one in models[name]) for name in ("high", "low"))
            ratio = f"{low / high:.2f}" if high > 0 else "noise"
            parts.append(f"{phase} {1e3 * high:.4f} {1e3 * low:.4f} {ratio}")
            energy = [[one[f"{phase}_joules"] for one in models[name]] for name in ("high", "low")]
            if not any(None in one for one in energy):
                parts.append("mJ " + " ".join(f"{1e3 * median(one):.2f}" for one in energy))
        lines.append(f"  {shape} {concurrency} x {length}: {'; '.join(parts)}")
    return lines


def _caches(records: list[dict[str, Any]]) -> list[str]:
    found = [record for record in records if record["part"] == "caches" and record.get("one_cache")]
    lines = ["caches: shape, model, at once: ms of a pass of one token; of the last turn; of 1, 2, 4, 8 missed turns"]
    for one in found:
        missed = " ".join(f"{1e3 * seconds:.2f}" for seconds in one["own_caches"].values())
        each = f"{1e3 * one['decode_pass']:.2f}; {1e3 * one['one_cache']:.2f}; {missed}"
        lines.append(f"  {one['shape']} {one['model']} {one['concurrency']}: {each}")
    return lines if found else []
