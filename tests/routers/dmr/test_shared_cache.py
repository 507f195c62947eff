"""Training of a network that reads hidden states, with a pool whose models share a cache."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.engine.opening import open_instances, open_models
from harness.pool import load_pool
from harness.sharing import SharedCache
from harness.suite import TaskEntry
from harness.training.play import play_episodes
from mixroute import Completion, Granularity, Step
from routers.dmr.data import readers_of, trajectories
from routers.dmr.network import NetworkConfig


class Reads:
    """Lets low read each prompt and then asks either model, as a network that reads hidden states does."""

    granularity: Granularity = "step"

    def __init__(self) -> None:
        self.states: dict[str, list[tuple[float, ...]]] = {}

    async def act(self, step: Step) -> Completion:
        self.states.setdefault(step.turns[0].observation.text if step.turns else step.observation.text, []).append(
            (await step.read("low")).state
        )
        return await step.ask(("high", "low", "high")[step.index], max_tokens=3)


@pytest.mark.parametrize("shares", [True, False])
def test_states_are_those_that_the_router_saw(tiny_pool: Path, shares: bool) -> None:
    sharing = SharedCache(shared=["high", "low"]) if shares else None
    pool = load_pool(str(tiny_pool)).model_copy(update={"kv_cache": sharing})
    assert readers_of(pool) == (["high", "low"] if shares else ["low"])
    opened = open_instances(TaskEntry(task="alfworld-gen", split="dev", limit=2, args={"step_cap": 3}))
    router = Reads()
    with open_models(pool, "deterministic", None) as models:
        episodes = play_episodes(opened, router, models, 0)
        assert not any(episode.error for episode in episodes)
        reading = {name: models[name] for name in readers_of(pool)}
        config = NetworkConfig(reads="hidden", hidden_size=64, steps=2)  # of each episode, the last two steps
        found = trajectories(episodes, opened.task, config, reading)
    for one, episode in zip(found, episodes, strict=True):
        assert one.states is not None
        seen = torch.tensor(router.states[episode.steps[0].observation][-2:])
        assert torch.equal(one.states, seen)
