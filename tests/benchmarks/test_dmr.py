"""How long the learned router thinks: sixteen decisions at once, at the thirtieth step of an episode."""

from __future__ import annotations

import asyncio

import pytest
import torch

from harness.data import Turn
from mixroute import Observation
from routers.dmr.features import views
from routers.dmr.network import NetworkConfig, RouterNetwork, Trajectory
from routers.dmr.router import Decider
from tests.benchmarks.fixture import Benchmark
from tests.benchmarks.test_alfworld import note

DECISIONS, STEPS = 16, 30
SHOWN = "You arrive at countertop {n}. On the countertop {n}, you see a cup 1, a dishsponge 1, a pan 2 and a lettuce 2."


@pytest.mark.parametrize("reads", ["text", "hidden"])
def test_decisions(benchmark: Benchmark, reads: str) -> None:
    config = NetworkConfig.model_validate({"reads": reads})
    decider = Decider(RouterNetwork(config))
    turns = [
        Turn(Observation(SHOWN.format(n=n)), f" go to countertop {n}", f"go to countertop {n}") for n in range(STEPS)
    ]

    async def decide() -> None:
        states = torch.randn(1, config.hidden_size) if reads == "hidden" else None
        seen = [views(turns, Observation(SHOWN.format(n=n)), ["low"] * STEPS) for n in range(DECISIONS)]
        await asyncio.gather(*(decider.probability(Trajectory(one, states)) for one in seen))

    benchmark.pedantic(lambda: asyncio.run(decide()), rounds=50, warmup_rounds=5)
    note(benchmark, "milliseconds_per_decision", DECISIONS, 1e3)
