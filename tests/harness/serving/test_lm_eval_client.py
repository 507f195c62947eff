"""lm-eval's own clients of endpoints against a server: they get what the router answers inside lm-eval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval", reason="the extra 'reasoning' is not installed")

from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from harness.integrations.lm_eval import MixrouteLM
from tests.harness.serving.serving import recorded, served
from tests.tasks.reasoning.local import write_data, write_task

ROUTER, THRESHOLD = "uncertainty", 1.5


def answers(model: object, task: Path, *, chat: bool, **arguments: Any) -> list[str]:
    """What a model of lm-eval answers to the questions of a task."""
    found = simple_evaluate(
        model=model,
        tasks=[task.stem],
        task_manager=TaskManager(include_path=str(task.parent), include_defaults=False),
        apply_chat_template=chat,
        fewshot_as_multiturn=chat,
        bootstrap_iters=0,
        **arguments,
    )
    samples = sorted(found["samples"][task.stem], key=lambda one: int(one["doc_id"]))
    return [str(one["resps"][0][0]) for one in samples]


@pytest.mark.parametrize("chat", [False, True])
def test_lm_eval_gets_the_same_from_outside_as_from_inside(tmp_path: Path, tiny_pool: Path, chat: bool) -> None:
    (tmp_path / "tasks").mkdir()
    task = write_task(tmp_path / "tasks" / "little.yaml", write_data(tmp_path / "data"))
    inside = MixrouteLM(router=ROUTER, pool=str(tiny_pool), threshold=THRESHOLD, reuse=False)
    try:
        expected = answers(inside, task, chat=chat)
    finally:
        inside.close()
    with served(tiny_pool, f"{ROUTER},threshold={THRESHOLD}", tmp_path / "out") as server:
        path, kind = ("chat/completions", "local-chat-completions") if chat else ("completions", "local-completions")
        told = {"model": ROUTER, "base_url": f"{server.url}/v1/{path}", "tokenized_requests": False, "max_retries": 1}
        found = answers(kind, task, chat=chat, model_args={**told, "tokenizer_backend": None})
    assert found == expected
    assert len(set(found)) > 1
    _, episodes = recorded(tmp_path / "out")[ROUTER, "unjudged"]
    assert sorted(one.steps[0].text for one in episodes.values()) == sorted(expected)
    assert {call.model for one in episodes.values() for call in one.steps[0].calls} == {"high", "low"}
