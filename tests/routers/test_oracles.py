"""Oracles on two real models: whose answer is played, and by what figure."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch

from harness import Completion, Step, open_router
from harness.pool import load_pool, open_backend
from harness.quantization.compare import open_for_comparison
from harness.trace import StepRecord, find_runs, read_episodes, read_meta
from harness.verify import verify_entry
from tests.command import mixroute
from tests.harness.backends.asking import plain
from tests.small_suite import write_suite

TAU = 0.038


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, tiny_pool: Path) -> dict[str, Path]:
    """Run folders by router."""
    folder = tmp_path_factory.mktemp("oracles")
    routers = ["agreement-oracle", {"router": "kl-oracle", "args": {"pool": str(tiny_pool), "tau": TAU}}]
    mixroute("run", write_suite(folder, tiny_pool, routers=routers), "--out", "runs", cwd=folder)
    return {read_meta(run).router: run for run in find_runs(folder / "runs")}


def answers(step: StepRecord) -> dict[str, str]:
    return {call.model: call.text for call in step.calls}


def test_where_the_models_agree_low_answers(played: dict[str, Path]) -> None:
    models = set()
    for step in (step for episode in read_episodes(played["agreement-oracle"]) for step in episode.steps):
        texts = answers(step)
        assert step.model == ("low" if texts["low"].strip() == texts["high"].strip() else "high")
        models.add(step.model)
    assert "high" in models
    assert verify_entry(played["agreement-oracle"]).status == "ok"


def test_where_the_models_are_tau_apart_high_answers(played: dict[str, Path]) -> None:
    models = set()
    for step in (step for episode in read_episodes(played["kl-oracle"]) for step in episode.steps):
        assert step.model == ("high" if step.scores["kl"] >= TAU else "low")
        assert step.text == answers(step)[step.model]
        models.add(step.model)
    assert models == {"high", "low"}


@pytest.mark.parametrize("text", ["a room", "take the mug"])
def test_the_divergence_is_the_mean_over_the_tokens_of_highs_answer(tiny_pool: Path, text: str) -> None:
    specs = load_pool(str(tiny_pool)).models
    backends = {name: open_backend(name, spec, deterministic=True) for name, spec in specs.items()}
    given: dict[str, Completion] = {}
    logged: dict[str, float] = {}
    request = plain(text)

    async def ask(model: str) -> Completion:
        given[model] = await backends[model].generate(request)
        return given[model]

    step = SimpleNamespace(prompt=request.prompt, ask=ask, log=logged.update)
    router = open_router("kl-oracle", pool=str(tiny_pool), tau=TAU)
    asyncio.run(router.act(cast("Step", step)))
    for backend in backends.values():
        backend.close()
    (high, encoder), (low, _) = (open_for_comparison(name, specs[name]) for name in ("high", "low"))
    start, written = encoder.encode(request.prompt).ids, [token.id for token in given["high"].tokens]
    ids = torch.tensor([[*start, *written[:-1]]])
    with torch.inference_mode():
        ours, theirs = (
            torch.log_softmax(model(input_ids=ids).logits[0, len(start) - 1 :], -1) for model in (high, low)
        )
    expected = float((ours.exp() * (ours - theirs)).sum(-1).mean())
    assert expected > 0.01
    assert logged["kl"] == pytest.approx(expected, rel=1e-3)


def test_a_trace_cannot_tell_the_divergence(played: dict[str, Path]) -> None:
    verdict = verify_entry(played["kl-oracle"])
    (routing,) = [found for found in verdict.findings if found.check == "the router decides as the trace says"]
    assert "a trace holds no token ids" in routing.details[0]
    assert not [found for found in verdict.findings if found.status == "failed"]
