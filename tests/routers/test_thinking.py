"""Routers and the parts of a reply: which tokens make one unsure, and who thinks and who acts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from harness import registry
from harness.plugins import complete_arguments, open_router
from harness.pool import load_pool
from harness.records import CallRecord, Episode, StepRecord
from harness.traces.store import find_runs, read_episodes
from mixroute import MixrouteError
from routers import thinking
from tests.harness.verify.editing import failed
from tests.harness.verify.writer import play, save_pool

ENTROPIES = [1.0, 1.0, 4.0, 4.0, 4.0, 9.0]
"""Of two tokens of a thought, three of an action, and the one that ends the reply."""


def development(*, thinks: bool = True, parts: bool = False) -> list[Episode]:
    def call(text: str, entropies: list[float], thought: list[int], action: list[int], forced: str = "") -> CallRecord:
        count = len(entropies)
        spans: dict[str, Any] = {"thought_tokens": thought, "action_tokens": action} if thinks else {}
        zeros = [0.0] * count
        content = count - (text != "t")
        return CallRecord(
            "low", 9, 0, count, content, "stop", False, text, zeros, entropies, zeros, True, forced, **spans
        )

    if parts:  # the thought was cut
        calls = [call("t", ENTROPIES[:2], [0, 2], [0, 0]), call("go", ENTROPIES[2:], [0, 0], [0, 3], "|")]
        step = StepRecord("o", [], calls, "t|go", "go", None, 0.0, "low", parts=[0, 1], thought="t")
    else:
        step = StepRecord("o", [], [call("t|go", ENTROPIES, [0, 2], [2, 5])], "t|go", "go", None, 0.0, "low")
    return [Episode(1, "h", "i", "", 0, 0.0, False, "step_cap", None, [step], "")]


@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize(("tokens", "doubt"), [("action", 4.0), ("thought", 1.0), ("all", 14 / 5)])
def test_uncertainty_reads_the_tokens_it_is_to_read(tokens: str, doubt: float, parts: bool) -> None:
    router = cast("Any", open_router("uncertainty", tokens=tokens))
    assert router.fit(development(parts=parts))["threshold"] == pytest.approx(doubt)


def test_without_thoughts_the_action_is_all() -> None:
    router = cast("Any", open_router("uncertainty"))
    assert router.fit(development(thinks=False))["threshold"] == pytest.approx(14 / 5)
    with pytest.raises(MixrouteError, match="use a scaffold that has them, such as think"):
        cast("Any", open_router("uncertainty", tokens="thought")).fit(development(thinks=False))
    with pytest.raises(MixrouteError, match="tokens must be one of action, thought, all"):
        open_router("uncertainty", tokens="every")


def test_runs_from_before_the_argument_keep_their_hashes() -> None:
    complete = [complete_arguments(registry.routers, "uncertainty", given) for given in ({}, {"tokens": "action"})]
    assert complete == [{"signal": "mean-entropy", "target_share": 0.3, "threshold": None}] * 2
    assert complete_arguments(registry.routers, "uncertainty", {"tokens": "all"})["tokens"] == "all"


def test_one_model_thinks_and_another_acts(tmp_path: Path) -> None:
    assert thinking.ThinkLowActHigh.role == "baseline"
    pool = save_pool(tmp_path)
    tasks = [{"task": "alfworld-gen", "split": "test", "limit": 2, "scaffold": "think", "args": {"step_cap": 2}}]
    entries = play(tmp_path, pool, ["think-low-act-high", "think-high-act-low"], tasks=tasks)
    order = {}
    for entry in find_runs(entries):
        assert failed(entry, {"writer": load_pool(str(pool))}) == set()
        for episode in read_episodes(entry):
            for step in episode.steps:
                assert step.model == "mixed"
                assert step.calls[1].forced.endswith("<action>")
                assert step.text == step.calls[0].text + step.calls[1].forced + step.calls[1].text
                order[episode.run] = [call.model for call in step.calls]
    assert sorted(order.values()) == [["high", "low"], ["low", "high"]]
