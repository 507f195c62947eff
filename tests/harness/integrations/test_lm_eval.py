"""A router inside lm-eval answers and scores what it does in the harness: same questions, same real models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval", reason="the extra 'reasoning' is not installed")

from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager
from rich.console import Console

from harness.engine.runner import SuiteRunner
from harness.integrations.lm_eval import MixrouteLM
from harness.pool import load_pool, save_pool
from harness.suite import Suite
from mixroute import MixrouteError
from tests.command import ROOT
from tests.tasks.reasoning.local import write_data, write_task


@pytest.fixture
def little(tmp_path: Path) -> Path:
    (tmp_path / "tasks").mkdir()
    return write_task(tmp_path / "tasks" / "little.yaml", write_data(tmp_path / "data"))


def in_harness(folder: Path, task: Path, pool: Path, router: dict[str, Any], **arguments: Any) -> list[Any]:
    """The episodes of a run, by question."""
    suite = Suite.model_validate({
        "schema": 1,
        "name": "little",
        "pool": str(pool),
        "seeds": [3],
        "tasks": [{"task": "reasoning", "split": "test", "args": {"benchmark": str(task), **arguments}}],
        "routers": [router],
    })  # fmt: skip
    SuiteRunner(suite, folder / "runs", Console(quiet=True)).run()
    (path,) = (folder / "runs").rglob("episodes.jsonl")
    return sorted((json.loads(line) for line in path.open()), key=lambda one: str(one["instance"]))


@pytest.mark.model
def test_the_command_gives_the_score_of_the_harness(tmp_path: Path, tiny_pool: Path) -> None:
    # A model that can solve some of it, and one that cannot.
    (tmp_path / "tasks").mkdir()
    task = write_task(
        tmp_path / "tasks" / "little.yaml",
        write_data(tmp_path / "data"),
        generation_kwargs={"until": ["\n\n"], "do_sample": False, "max_gen_toks": 20},
        filter_list=[{"name": "last", "filter": [
            {"function": "regex", "regex_pattern": "#### ([0-9]+)"}, {"function": "take_first"}]}],
        doc_to_target="{{answer.split('#### ')[1]}}",
        fewshot_config={"doc_to_target": "{{answer}}"},
    )  # fmt: skip
    models = {
        "high": load_pool("smollm2").models["high"].model_copy(update={"adapter": None}),
        "low": load_pool(str(tiny_pool)).models["high"],
    }
    pool = save_pool(tmp_path / "pool.yaml", "unlike", "", models)
    episodes = in_harness(tmp_path, task, pool, {"router": "random", "args": {"p": 0.7}})
    score = sum(one["score"] for one in episodes) / len(episodes)
    assert {step["model"] for one in episodes for step in one["steps"]} == {"high", "low"}
    assert 0 < score < 1

    command = [sys.executable, "-m", "harness.integrations.lm_eval", "--model", "mixroute", "--tasks", "little"]
    command += ["--include_path", "tasks", "--output_path", "scores", "--log_samples"]
    command += ["--model_args", f"router=random,p=0.7,pool={pool},seed=3"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert ended.returncode == 0, ended.stderr
    (report,) = (tmp_path / "scores").rglob("results_*.json")
    assert json.loads(report.read_text())["results"]["little"]["exact_match,last"] == score
    (samples,) = (tmp_path / "scores").rglob("samples_*.jsonl")
    answers = sorted((json.loads(line) for line in samples.open()), key=lambda one: int(one["doc_id"]))
    assert [one["resps"][0][0] for one in answers] == [one["steps"][0]["text"] for one in episodes]


@pytest.mark.parametrize("chat", [False, True])
def test_answers_are_the_same_in_both_formats(tmp_path: Path, little: Path, tiny_pool: Path, chat: bool) -> None:
    episodes = in_harness(tmp_path, little, tiny_pool, {"router": "random", "args": {"p": 0.5}}, chat=chat)
    model = MixrouteLM(router="random", pool=str(tiny_pool), seed=3, p=0.5)
    try:
        found = simple_evaluate(
            model=model,
            tasks=["little"],
            task_manager=TaskManager(include_path=str(little.parent), include_defaults=False),
            apply_chat_template=chat,
            fewshot_as_multiturn=chat,
            bootstrap_iters=0,
        )
    finally:
        model.close()
    texts = [one["resps"][0][0] for one in sorted(found["samples"]["little"], key=lambda one: int(one["doc_id"]))]
    assert texts == [one["steps"][0]["text"] for one in episodes]
    assert len({text[:4] for text in texts}) > 1


def test_what_cannot_be_done_is_said(tmp_path: Path, tiny_pool: Path, little: Path) -> None:
    with pytest.raises(MixrouteError, match="unknown router 'rando'"):
        MixrouteLM(router="rando", pool=str(tiny_pool))
    with pytest.raises(MixrouteError, match="takes no argument 'q'"):
        MixrouteLM(router="random", pool=str(tiny_pool), q=1)
    model = MixrouteLM(router="always-low", pool=str(tiny_pool))
    try:
        with pytest.raises(MixrouteError, match="only generates"):
            model.loglikelihood([])
        with pytest.raises(MixrouteError, match="without a chat template"):
            model.apply_chat_template([{"role": "user", "content": "x"}], add_generation_prompt=False)
    finally:
        model.close()
