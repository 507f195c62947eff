"""Routers that decide by the answer before, and what they are told of it: its tokens, and what a switch would cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from harness.engine.answering import Play
from harness.engine.loop import run_to_end
from harness.engine.rollout import play_all
from harness.plugins import open_router
from harness.pool import load_pool
from harness.records import Episode
from harness.sharing import SharedCache
from harness.traces.store import find_runs, read_episodes
from mixroute import Completion, MixrouteError, Request, Step, StepRouter, Token
from tests.harness.playing import Seen
from tests.harness.verify.editing import failed
from tests.harness.verify.writer import play, save_pool
from tests.scripted import Corridor, ScriptedModel


class Unsure(ScriptedModel):
    """Reads 10 tokens a turn, of which it keeps nothing; its doubt in each step is scripted."""

    def __init__(self, name: str, doubts: str) -> None:
        super().__init__(name)
        self._doubts = doubts

    async def generate(self, request: Request) -> Completion:
        step = len(request.prompt.messages) // 2
        entropy = int(self._doubts[step]) / 10
        tokens = (Token(0, -0.5, entropy, 0.2),) * 3
        return Completion(self._name, " right", tokens, 2, "stop", 10 * (step + 1), 0)


def episode(router: object, low: str, high: str, sharing: SharedCache | None = None) -> Episode:
    """An episode of as many steps as there are doubts."""
    seen, task = Seen(), Corridor(length=len(low), count=1)
    models = {"high": Unsure("high", high), "low": Unsure("low", low)}
    plan = Play("hash", 7, 0.0, task, router, models, 30.0, sharing=sharing)  # type: ignore[arg-type]
    run_to_end(play_all(plan, task.instances(), 1, seen))
    (found,) = seen.episodes.values()
    assert found.error is None
    return found


def order(name: str, low: str, high: str, **arguments: Any) -> str:
    return "".join(step.model[0] for step in episode(open_router(name, **arguments), low, high).steps)


def test_hysteresis_stays_until_high_is_sure_enough() -> None:
    # Low is unsure in step 1, so that high answers from step 2 on, until it falls below 0.5 * 0.5 itself.
    assert order("hysteresis", low="1911111", high="1111111", threshold=0.5) == "llhllll"
    assert order("hysteresis", low="1911111", high="1199911", threshold=0.5) == "llhhhhl"
    assert order("hysteresis", low="1911111", high="1111111", threshold=0.5, release=0.0) == "llhhhhh"
    assert order("hysteresis", low="1555555", high="1111111", threshold=0.5) == "lllllll"  # not above it


def test_sticky_pays_for_what_is_to_be_read() -> None:
    # Before step 2 high would have to read 22 tokens: two turns of 10 and an answer of 2.
    arguments = {"threshold": 0.5, "margin": 0.1}
    assert order("sticky", low="1811", high="1111", price=0.0, **arguments) == "llhl"
    assert order("sticky", low="1811", high="1111", price=1.0, **arguments) == "llll"  # 0.8 is not above 0.6 + 0.22
    assert order("sticky", low="1911", high="1111", price=1.0, **arguments) == "llhl"  # low has 10 unread: 0.1 < 0.3
    assert order("sticky", low="1911", high="1131", price=2.0, **arguments) == "llll"
    found = episode(open_router("sticky", price=1.0, **arguments), low="1911", high="1111")
    assert [step.scores.get("unread") for step in found.steps] == [None, 12, 22, 10]


def test_budget_is_never_overspent() -> None:
    whole = order("budget", low="9999999999", high="9999999999", threshold=0.5, share=0.25)
    assert whole == "lhlhlllhll"
    for steps in range(1, len(whole) + 1):
        assert whole[:steps].count("h") <= 1 + 0.25 * steps
    assert order("budget", low="9999999999", high="9999999999", threshold=0.5, share=0.25, spare=0) == "lllhlllhll"
    assert order("budget", low="1111111111", high="1111111111", threshold=0.5) == "llllllllll"


class Counting(StepRouter):
    """Says what it sees; answers l, l, h, l."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, list[tuple[str, float]]]] = []

    def choose(self, step: Step) -> str:
        doubts = [(answer.model, answer.statistics.mean_entropy) for answer in step.answers]
        self.seen.append((step.switch_tokens("low"), step.switch_tokens("high"), doubts))
        return {"l": "low", "h": "high"}["llhl"[step.index]]


def test_a_step_knows_earlier_answers_and_what_each_model_has_not_read() -> None:
    router = Counting()
    episode(router, low="1234", high="5678")
    low, high, answers = zip(*router.seen, strict=True)
    assert low == (0, 0, 0, 10)
    assert high == (0, 12, 22, 0)
    assert answers[3] == [("low", pytest.approx(0.1)), ("low", pytest.approx(0.2)), ("high", pytest.approx(0.7))]


def test_models_that_share_a_cache_have_read_the_same() -> None:
    router = Counting()
    episode(router, low="1234", high="5678", sharing=SharedCache(shared=["high", "low"]))
    assert [one[:2] for one in router.seen] == [(0, 0)] * 4


class Lost(StepRouter):
    def choose(self, step: Step) -> str:
        return "low" if step.switch_tokens("middle") else "high"


def test_a_model_that_the_pool_does_not_have_is_named() -> None:
    with pytest.raises(MixrouteError, match="counts for model 'middle': the pool has high, low"):
        episode(Lost(), low="1", high="1")


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("hysteresis", {"release": 1.5}, r"release must lie in \[0, 1\], not 1.5"),
        ("hysteresis", {"signal": "mood"}, "signal must be one of mean-entropy, .*, not 'mood'"),
        ("sticky", {"price": -1}, "price must be 0 or more, not -1"),
        ("budget", {"share": 1}, "share must lie between 0 and 1, not 1"),
        ("budget", {"spare": -1}, "spare must be 0 or more, not -1"),
    ],
)
def test_wrong_arguments_are_named(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(MixrouteError, match=message):
        open_router(name, **arguments)


def test_played_with_a_fitted_threshold_they_are_verified(tmp_path: Path) -> None:
    """What a router is told of earlier steps is the same in play and in a replay of the trace."""
    pool = save_pool(tmp_path)
    content = yaml.safe_load(pool.read_text())
    pool.write_text(yaml.safe_dump({**content, "kv_cache": {"shared": ["high", "low"]}}))
    task = {"task": "alfworld-gen", "split": "test", "limit": 2, "args": {"step_cap": 5}}
    tasks = [{**task, "calibration": {"split": "dev", "limit": 2}}]
    routers = [
        {"router": "hysteresis", "args": {"release": 0.9}},
        {"router": "sticky", "args": {"price": 0.1}},
        {"router": "budget", "args": {"target_share": 0.7}},
    ]
    entries = play(tmp_path, pool, routers, tasks=tasks)
    for entry in find_runs(entries):
        assert failed(entry, {"writer": load_pool(str(pool))}) == set()
        models = {step.model for one in read_episodes(entry) for step in one.steps}
        assert models == {"high", "low"}


def test_without_a_threshold_it_says_what_to_give() -> None:
    with pytest.raises(MixrouteError, match="give the suite's task a calibration"):
        cast("Any", open_router("sticky")).fit([])
