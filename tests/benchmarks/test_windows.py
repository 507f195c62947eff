"""What windows cost in re-reading: prompt tokens that one model reads in an episode, by scaffold."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import pytest

from harness.backends.encoding import Encoder
from harness.backends.reading import Readings
from harness.contracts import Teachable
from harness.data import Observation, Prompt, Turn
from harness.plugins import open_task
from harness.pool import load_pool
from harness.scaffolds import ScaffoldedTask
from harness.weights.adapters import weights_folder
from tests.benchmarks.fixture import Benchmark

THOUGHT = "I look for the mug. The desk has none, so the shelf comes next, and then the drawers."
GAMES = 12


def episodes(scaffold: str, **changes: Any) -> list[list[Prompt]]:
    """Prompts of the expert's episodes, with a thought at each step where the scaffold has thoughts."""
    task: Any = open_task("alfworld-gen", split="dev", prompt=scaffold, **changes)
    assert isinstance(task, ScaffoldedTask)
    assert isinstance(task, Teachable)
    playing: Any = task
    expert, played = playing.expert(), []
    thought = THOUGHT if task.scaffold.thinks else ""
    for instance in playing.instances()[:GAMES]:
        environment = playing.open(instance)
        observation: Observation = environment.reset()
        turns: list[Turn] = []
        prompts, done = [], False
        while not done and len(turns) < playing.step_cap:
            prompts.append(task.prompt(turns, observation))
            action = expert.act(turns, observation)
            turns.append(Turn(observation, task.scaffold.reply_text(thought, action), action, thought))
            observation, _, done = environment.step(action)
        played.append(prompts)
    return played


def tokens(encoder: Encoder, played: Sequence[Sequence[Prompt]]) -> tuple[float, float]:
    """Tokens of all prompts of an episode, and those of them that are read; means."""
    sent, computed = [], []
    for prompts in played:
        read = Readings()
        encoded = [encoder.encode(prompt) for prompt in prompts]
        sent.append(sum(len(one.ids) for one in encoded))
        computed.append(sent[-1] - sum(read.call("low", one, only_read=False) for one in encoded))
    return fmean(sent), fmean(computed)


@pytest.mark.model
@pytest.mark.parametrize(
    ("scaffold", "changes"),
    [
        ("compact", {}),
        ("think", {}),
        ("think", {"show_admissible": True}),
        ("react", {}),
        ("window", {}),
    ],
)
def test_prompt_tokens_of_an_episode(benchmark: Benchmark, scaffold: str, changes: dict[str, Any]) -> None:
    from transformers import AutoTokenizer

    folder = weights_folder(load_pool("smollm2").models["high"].model_copy(update={"adapter": None}))
    encoder = Encoder(AutoTokenizer.from_pretrained(folder))
    played = episodes(scaffold, **changes)
    sent, computed = benchmark.pedantic(tokens, args=(encoder, played), rounds=1)
    benchmark.extra_info.update(sent=round(sent), computed=round(computed))
    assert computed <= sent
