"""The board as one page that opens from disk, and the traces beside it that its viewer loads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from harness.board.overview import FEW_INSTANCES, MAIN_BUDGET, OVERVIEW_BUDGETS, overview_of
from harness.board.render import SCHEMA, facts, notes, title
from harness.board.rows import Row
from harness.board.section import section_key
from harness.board.table import Board
from harness.files import content_hash, replacing
from harness.metrics import BUDGETS
from harness.records import CallRecord, Episode, RunMeta
from harness.traces.cost import COST_MODELS, MAIN_COST
from harness.traces.store import read_episodes, read_meta

TRACES = "traces"

_ASSETS = Path(__file__).parent / "assets"
_SCRIPTS = ("common", "costs", "address", "table", "panels", "plot", "overview", "budgets", "viewer", "main")


def _tabs(sections: Sequence[Sequence[Row]]) -> list[str]:
    """What the sections' tabs say: task, split and instances, with the pool where another tab would say the same."""
    named = [f"{one[0].task} {one[0].split} · {max(row.instances for row in one)}" for one in sections]
    return [f"{tab} · {one[0].pool}" if named.count(tab) > 1 else tab for tab, one in zip(named, sections, strict=True)]


def to_html(board: Board, traced: Iterable[Path] = ()) -> bytes:
    """The page. It loads nothing but ``traces/*.js``.

    Args:
        board: The board that it shows.
        traced: Run folders whose traces lie beside it, as ``write_traces`` writes them.
    """
    found = board.sections()
    sections = [
        {
            "tab": tab,
            "key": section_key(section[0]),
            "best": overview_of(section),
            "title": title(section[0], board),
            "group": section[0].group,
            "limit": section[0].limit,
            "facts": facts(section[0]),
            "notes": notes(section),
            "rows": section,
            "curves": board.curves_of(section),
        }
        for section, tab in zip(found, _tabs(found), strict=True)
    ]
    traces = [
        {
            "file": _name(folder, meta),
            "group": meta.group,
            "limit": meta.limit,
            "label": meta.label,
            "seed": meta.seed,
        }
        for folder in traced
        for meta in [read_meta(folder)]
    ]
    costs = {
        name: {"title": model.title, "unit": model.unit, "scale": model.scale} for name, model in COST_MODELS.items()
    }
    data = {
        "schema": SCHEMA,
        "costs": costs,
        "main_cost": MAIN_COST,
        "budgets": BUDGETS,
        "overview_budgets": OVERVIEW_BUDGETS,
        "main_budget": MAIN_BUDGET,
        "few_instances": FEW_INSTANCES,
        "sections": sections,
        "traces": sorted(traces, key=lambda one: str(sorted(one.items()))),
    }
    script = "(() => {\n" + '"use strict";\n' + "\n".join(_asset(f"{name}.js") for name in _SCRIPTS) + "})();\n"
    parts = {"style": _asset("style.css"), "data": _inert(data), "script": script}
    # In one pass: a mark within the data, such as a label {{script}}, is text.
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: parts[mark[1]], _asset("page.html")).encode()


def write_traces(folders: Iterable[Path], out: Path) -> None:
    """Write each run as ``traces/NAME.js`` below ``out``: a page that is opened from disk can load nothing but scripts.

    Files of runs that are no longer on the board are deleted.

    Raises:
        MixrouteError: a folder cannot be read.
    """
    names = {_name(folder, read_meta(folder)): folder for folder in folders}
    for stale in (out / TRACES).glob("*.js"):
        if re.fullmatch("[0-9a-f]{16}", stale.stem) and stale.stem not in names:
            stale.unlink()
    for name, folder in names.items():
        with replacing(out / TRACES / f"{name}.js") as file:
            file.write(f"mixrouteTrace({_inert(name)}, [".encode())
            for number, episode in enumerate(read_episodes(folder)):
                file.write(b"," * (number > 0) + _inert(_episode(episode)).encode())
            file.write(b"]);\n")


def _name(folder: Path, meta: RunMeta) -> str:
    """Name of a trace file: a hash, since no text of an entry may become a path."""
    return content_hash([folder.name, meta.hash])[:16]


def _episode(episode: Episode) -> dict[str, Any]:
    return {
        "instance": episode.instance,
        "success": episode.success,
        "score": episode.score,
        "end": episode.end,
        "error": episode.error,
        "final": episode.final_observation,
        "steps": [
            {
                "observation": step.observation,
                "thought": step.thought,
                "action": step.action,
                "valid": step.valid,
                "reward": step.reward,
                "model": step.model,
                "scores": step.scores,
                "calls": [_call(call) for call in step.calls],
            }
            for step in episode.steps
        ],
    }


def _call(call: CallRecord) -> dict[str, Any]:
    entropy = call.mean_entropy
    return {
        "model": call.model,
        "prompt": call.prompt_tokens,
        "decoded": call.decoded_tokens,
        "entropy": None if entropy is None else round(entropy, 4),
    }


def _inert(value: object) -> str:
    """JSON that means the same within a script element, whatever text it holds."""
    text = json.dumps(msgspec.to_builtins(value), ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
