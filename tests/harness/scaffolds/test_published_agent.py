"""The files of docs/agents.md, Run a published agent: played with tiny random models of these architectures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from harness.config import check
from harness.engine.runner import SuiteRunner
from harness.pool import load_pool
from harness.scaffolds import SHIPPED as SCAFFOLDS
from harness.scaffolds import load_scaffold
from harness.suite import SHIPPED as SUITES
from harness.suite import Suite, load_suite
from harness.traces.store import find_runs, read_episodes, read_meta
from harness.verify.entry import verify_entry
from tests.command import ROOT
from tests.harness.scaffolds.test_templates import THINKING
from tests.tiny_model import TEMPLATE, tiny_tokenizer

BLOCKS = {
    found[1]: found[2]
    for found in re.finditer(r"```yaml\n# (\S+)\n(.*?)```", (ROOT / "docs" / "agents.md").read_text(), re.DOTALL)
}


def save_model(folder: Path, architecture: str, template: str) -> None:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    shape: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
        "eos_token_id": 2,
        "bos_token_id": 1,
        "dtype": "float32",
    }
    torch.manual_seed(0)
    model: Any
    if architecture == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(**shape))  # type: ignore[no-untyped-call]
    else:
        model = Qwen3ForCausalLM(Qwen3Config(**shape, head_dim=16))  # type: ignore[no-untyped-call]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize(
    ("scaffold", "architecture", "template"),
    [("verl-agent.yaml", "qwen2", TEMPLATE), ("qwen3-thinking.yaml", "qwen3", THINKING)],
)
def test_the_files_of_the_page_are_played(tmp_path: Path, scaffold: str, architecture: str, template: str) -> None:
    text = re.sub(r"thought_tokens: \d+", "thought_tokens: 24", BLOCKS[scaffold])  # random models use them up
    (tmp_path / scaffold).write_text(text)
    suite, pool = (yaml.safe_load(BLOCKS[name]) for name in ("suite.yaml", "pool.yaml"))
    for name, model in pool["models"].items():
        save_model(tmp_path / name, architecture, template)
        model.update(backend="transformers", weights=str(tmp_path / name), options={})
    (tmp_path / "pool.yaml").write_text(yaml.safe_dump(pool))
    (task,) = suite["tasks"]
    task.update(task="alfworld-gen", split="test", limit=1, scaffold=str(tmp_path / scaffold))
    task["args"]["step_cap"] = 4
    routers = [one for one in suite["routers"] if one != "think-low-act-high"]
    suite |= {"pool": str(tmp_path / "pool.yaml"), "routers": routers}
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(suite))
    SuiteRunner(load_suite(str(tmp_path / "suite.yaml")), tmp_path / "runs", Console(quiet=True)).run()
    runs = find_runs(tmp_path / "runs")
    assert len(runs) == len(routers)
    for run in runs:
        verdict = verify_entry(run, pools={"published": load_pool(str(tmp_path / "pool.yaml"))}, own=True)
        assert [result for result in verdict.results if result.status == "failed"] == []
        for episode in read_episodes(run):
            assert episode.error is None
            assert len(episode.steps) == 4


@pytest.mark.parametrize(("name", "task"), [("alfworld-gpu", "alfworld-gen"), ("webshop-gpu", "webshop-gen")])
def test_the_suites_for_a_gpu_are_played(tmp_path: Path, name: str, task: str) -> None:
    text = (SCAFFOLDS / "chat-think.yaml").read_text()
    (tmp_path / "short.yaml").write_text(text.replace("thought_tokens: 1024", "thought_tokens: 24"))
    pool: dict[str, Any] = {"schema": 1, "name": "tiny", "models": {}}
    for model in ("high", "low"):
        save_model(tmp_path / model, "qwen3", THINKING)
        pool["models"][model] = {"weights": str(tmp_path / model)}
    (tmp_path / "pool.yaml").write_text(yaml.safe_dump(pool))
    content = yaml.safe_load((SUITES / f"{name}.yaml").read_text())
    content["pool"] = str(tmp_path / "pool.yaml")
    (entry,) = (one for one in content["tasks"] if one["task"] == task)
    entry |= {"limit": 1, "scaffold": str(tmp_path / "short.yaml"), "args": {"step_cap": 3}}
    entry["calibration"]["limit"] = 1
    content["tasks"] = [entry]
    suite = check(content, Suite, name)
    SuiteRunner(suite, tmp_path / "runs", Console(quiet=True)).run()
    runs = find_runs(tmp_path / "runs")
    assert len(runs) == len(suite.routers)
    for run in runs:
        (episode,) = read_episodes(run)
        assert (episode.error, len(episode.steps)) == (None, 3)
        assert read_meta(run).protocol["prompt"] == "chat-think"


@pytest.mark.parametrize("name", sorted(name for name in BLOCKS if name not in ("suite.yaml", "pool.yaml")))
def test_replies_of_such_agents_are_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(BLOCKS[name])
    scaffold = load_scaffold(str(tmp_path / name))
    read = scaffold.read(scaffold.reply_text("The mug is there.", "go to shelf 1"))
    assert (read.thought, read.action) == ("The mug is there.", "go to shelf 1")
