"""Oracles on two real models: whose answer is played, and by what figure."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
import yaml

from harness.backends.loading import open_for_comparison
from harness.pool import Pool, load_pool, open_backend
from harness.records import StepRecord
from harness.traces.store import find_runs, read_episodes, read_meta
from harness.verify.entry import verify_entry
from mixroute import Completion, Request, Step, open_router, open_task
from tests.command import mixroute
from tests.harness.backends.asking import plain
from tests.small_suite import write_suite
from tests.tiny_model import save_tiny_model

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


def test_where_the_models_agree_low_answers(played: dict[str, Path], tiny_pools: dict[str, Pool]) -> None:
    models = set()
    for step in (step for episode in read_episodes(played["agreement-oracle"]) for step in episode.steps):
        texts = answers(step)
        assert step.model == ("low" if texts["low"].strip() == texts["high"].strip() else "high")
        models.add(step.model)
    assert "high" in models
    assert verify_entry(played["agreement-oracle"], pools=tiny_pools).status == "ok"


def test_where_the_models_are_tau_apart_high_answers(played: dict[str, Path]) -> None:
    models = set()
    for step in (step for episode in read_episodes(played["kl-oracle"]) for step in episode.steps):
        assert step.model == ("high" if step.scores["kl"] >= TAU else "low")
        assert step.text == answers(step)[step.model]
        models.add(step.model)
    assert models == {"high", "low"}


@pytest.mark.parametrize("kept", [50_000, 8])
def test_the_divergence_is_the_mean_over_the_tokens_of_highs_answer_whatever_is_kept(
    tiny_pool: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    monkeypatch.setattr("harness.quantization.divergence._CACHED_TOKENS", kept)
    specs = load_pool(str(tiny_pool)).models
    backends = {name: open_backend(name, spec, deterministic=True) for name, spec in specs.items()}
    (high, encoder), (low, _) = (open_for_comparison(name, specs[name]) for name in ("high", "low"))
    router = open_router("kl-oracle", pool=str(tiny_pool), tau=TAU)
    found = set()
    # Two episodes side by side, whose prompts grow, and one that begins as the first of them did.
    for text in ("a room", "a mug", "a room with a view", "a mug, full", "a room with a view, and a door", "a room"):
        request = plain(text)
        given: dict[str, Completion] = {}
        logged: dict[str, float] = {}

        async def ask(model: str, request: Request = request, given: dict[str, Completion] = given) -> Completion:
            given[model] = await backends[model].generate(request)
            return given[model]

        step = SimpleNamespace(prompt=request.prompt, ask=ask, log=logged.update)
        asyncio.run(router.act(cast("Step", step)))
        start, written = encoder.encode(request.prompt).ids, [token.id for token in given["high"].tokens]
        ids = torch.tensor([[*start, *written[:-1]]])
        with torch.inference_mode():
            logits = [model(input_ids=ids).logits[0, len(start) - 1 :] for model in (high, low)]
        ours, theirs = (torch.log_softmax(each, -1) for each in logits)
        assert logged["kl"] == pytest.approx(float((ours.exp() * (ours - theirs)).sum(-1).mean()), rel=1e-3)
        found.add(logged["kl"])
    for backend in backends.values():
        backend.close()
    assert len(found) == 5  # the last prompt is the first again


def test_a_trace_cannot_tell_the_divergence(played: dict[str, Path]) -> None:
    verdict = verify_entry(played["kl-oracle"], own=True)
    (routing,) = [found for found in verdict.results if found.check == "the router decides as the trace says"]
    assert "a trace holds no token ids" in routing.details[0]
    assert not [found for found in verdict.results if found.status == "failed"]


def test_where_the_agent_thinks_the_divergence_is_that_of_the_action(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "weights", letters="abcdefg")  # it never ends a thought, which is then cut
    weights = str(tmp_path / "weights")
    given = {"high": {"weights": weights}, "low": {"weights": weights, "options": {"quantization": "nf4"}}}
    pool = tmp_path / "pool.yaml"
    pool.write_text(yaml.safe_dump({"schema": 1, "name": "letters", "models": given}))
    args = {"step_cap": 2, "prompt": "think"}
    tasks = [{"task": "alfworld-gen", "split": "test", "limit": 2, "args": args}]
    routers = [{"router": "kl-oracle", "args": {"pool": str(pool), "tau": TAU}}]
    done = mixroute("run", write_suite(tmp_path, pool, tasks=tasks, routers=routers), "--out", "runs", cwd=tmp_path)
    assert "changed its attribute" not in done.stderr
    models = load_pool(str(pool)).models
    (high, encoder), (low, _) = (open_for_comparison(name, models[name]) for name in ("high", "low"))
    task = open_task("alfworld-gen", split="test", **args)
    (run,) = find_runs(tmp_path / "runs")
    checked = 0
    for episode in read_episodes(run):
        for index, step in enumerate(episode.steps):
            prompt = task.prompt(episode.turns[:index], episode.turns[index].observation)
            thought, act = (call for call in step.calls if call.model == "high")
            action = task.parse_action(thought.text + act.forced + act.text)
            if not action:
                continue
            begun = encoder.encode(prompt, thought.text + act.forced).ids
            ids = encoder.encode(prompt, thought.text + act.forced + action + "<").ids  # a token is a letter here
            assert ids[: len(begun)] == begun
            ours, theirs = (
                torch.log_softmax(one(torch.tensor([ids])).logits[0, len(begun) - 1 : -1].double(), -1)
                for one in (high, low)
            )
            kl = (ours.exp() * (ours - theirs)).sum(-1).mean()
            assert step.scores["kl"] == pytest.approx(float(kl), abs=1e-4)
            checked += 1
    assert checked > 1
