"""Conformance: the scaffolds that were code give the prompts and hashes that they gave then, byte for byte."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.plugins import open_task
from harness.traces.store import find_runs, read_meta
from tests.command import ROOT
from tests.harness.scaffolds.recorded import FILE, SMALL, played, settings

RECORDED = {
    json.dumps([one["task"], one["arguments"]], sort_keys=True): one
    for one in json.loads(FILE.read_text(encoding="utf-8"))
}


@pytest.mark.parametrize(("task", "arguments"), list(settings()))
def test_prompts_and_protocol_are_as_recorded(task: str, arguments: dict[str, Any]) -> None:
    now = json.loads(json.dumps(played(task, arguments)))
    assert now == RECORDED[json.dumps([task, arguments], sort_keys=True)]


def test_all_that_was_recorded_is_compared() -> None:
    assert len(RECORDED) == len(list(settings())) == 28


def test_published_entries_keep_the_hashes_of_their_prompts() -> None:
    names = ("prompt", "show_admissible", "dialect", "observation", "page_budget")
    published = set()
    for folder in find_runs(ROOT / "results" / "entries"):
        meta = read_meta(folder)
        if "prompt_hash" in meta.protocol and meta.task.startswith(("alfworld", "webshop")):
            arguments = {name: meta.config["task_args"][name] for name in names if name in meta.config["task_args"]}
            published.add((meta.task.partition("-")[0], json.dumps(arguments), str(meta.protocol["prompt_hash"])))
    assert len({task for task, _, _ in published}) == 2
    for task, given, digest in published:
        opened = open_task(f"{task}-gen", **SMALL[f"{task}-gen"], **json.loads(given))
        assert opened.protocol()["prompt_hash"] == digest
