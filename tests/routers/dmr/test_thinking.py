"""Networks that wait for low's answer, where the agent thinks and an answer takes two calls."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.engine.opening import open_instances, open_models
from harness.pool import load_pool
from harness.suite import TaskEntry
from harness.training.play import play_episodes
from mixroute import Completion, Granularity, Step
from routers.dmr.data import trajectories
from routers.dmr.drafts import LENGTHS, facts_of
from routers.dmr.network import NetworkConfig, Reads
from tests.tiny_model import save_tiny_model


class Drafts:
    """Waits for low's answer, notes its facts, and then lets either model act, as a network that was trained does."""

    granularity: Granularity = "step"

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self.facts: dict[tuple[str, int], tuple[float, ...]] = {}

    async def act(self, step: Step) -> Completion:
        draft = await step.ask("low")
        first = step.turns[0].observation.text if step.turns else step.observation.text
        action = step.parse_action(draft.text)
        self.facts[first, step.index] = facts_of(self._reads, draft, action, step.turns, step.observation)
        return await step.ask("high") if step.index % 2 else draft


@pytest.mark.parametrize("reads", LENGTHS)
def test_training_reads_the_facts_that_the_router_saw(tmp_path: Path, reads: Reads) -> None:
    save_tiny_model(
        tmp_path / "weights", letters="abcdefg"
    )  # it never ends a thought, so that each answer is two calls
    model = {"weights": str(tmp_path / "weights")}
    (tmp_path / "pool.yaml").write_text(f"schema: 1\nname: letters\nmodels: {{high: {model}, low: {model}}}\n")
    args = {"games": 2, "seed": 9000, "step_cap": 3, "prompt": "think"}
    opened = open_instances(TaskEntry(task="alfworld-gen", split="train", limit=2, args=args))
    router = Drafts(reads)
    with open_models(load_pool(str(tmp_path / "pool.yaml")), "deterministic", None) as models:
        episodes = play_episodes(opened, router, models, 0)
    assert not any(episode.error for episode in episodes)
    assert {len([call for call in step.calls if call.model == "low"]) for one in episodes for step in one.steps} == {2}
    found = trajectories(episodes, opened.task, NetworkConfig(reads=reads), {})
    for one, episode in zip(found, episodes, strict=True):
        seen = [router.facts[episode.steps[0].observation, index] for index in range(len(episode.steps))]
        assert one.states is not None
        assert torch.allclose(one.states, torch.tensor(seen), atol=1e-4)
