"""GRPO finds the best router where it is known, and does what its recipe says."""

from __future__ import annotations

import asyncio
import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.training.play import play_episodes
from mixroute import Completion, Request
from routers.dmr.grpo import Grpo, bernoulli_kl
from routers.dmr.network import NetworkConfig, RouterNetwork
from routers.dmr.recipe import GrpoRecipe
from routers.dmr.router import LearnedRouter
from tests.routers.dmr.bridge import Walker, opened, walkers

SMALL = NetworkConfig(width=16, layers=1, heads=2)


def trained(price: float, iterations: int = 20, seed: int = 0) -> tuple[Grpo, list[dict[str, float]]]:
    torch.manual_seed(seed)
    options = GrpoRecipe(instances=32, group=8, batch=32, epochs=4, learning_rate=3e-3, iterations=iterations)
    policy = Grpo(RouterNetwork(SMALL), options, price)
    return policy, [policy.iterate([opened("train")], walkers(), seed + number) for number in range(iterations)]


@pytest.mark.parametrize("price", [0.3, 0.6])
def test_it_learns_to_ask_high_where_low_would_fail_and_nowhere_else(price: float) -> None:
    policy, history = trained(price)
    test = opened("test")
    episodes = play_episodes(test, LearnedRouter(policy.network), walkers(), 0)
    assert sum(episode.success for episode in episodes) == len(episodes)
    needed = sum(plank for one in test.instances for plank in one.data) / sum(len(one.data) for one in test.instances)
    assert sum(episode.high_share for episode in episodes) / len(episodes) == pytest.approx(needed, abs=0.03)
    assert history[-1]["reward"] > history[0]["reward"]
    assert history[-1]["entropy"] < history[0]["entropy"]


def test_where_high_costs_nothing_it_is_safe_and_where_it_costs_too_much_it_is_left() -> None:
    free, dear = trained(0.0)[1], trained(10.0)[1]
    assert free[-1]["success"] > 0.95
    assert dear[-1]["high_share"] < 0.05
    assert dear[-1]["collapse"] > 0.8


def test_a_seed_gives_one_training() -> None:
    first, second = trained(0.3, iterations=3), trained(0.3, iterations=3)
    assert first[1] == second[1]
    for ours, theirs in zip(first[0].network.parameters(), second[0].network.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert trained(0.3, iterations=3, seed=1)[1] != first[1]


class Tired(Walker):
    """A model whose answers take any time, as they do where a completion cache holds some of them."""

    async def generate(self, request: Request) -> Completion:
        for _ in range(random.randrange(3)):
            await asyncio.sleep(0)
        return await super().generate(request)


def test_which_episode_ends_first_does_not_change_the_training() -> None:
    networks = []
    for models in (walkers(), {"high": Tired("high", "light"), "low": Tired("low", "heavy")}):
        torch.manual_seed(0)
        policy = Grpo(RouterNetwork(SMALL), GrpoRecipe(instances=6, group=3, batch=4, learning_rate=3e-3), 0.3)
        policy.iterate([opened("train")], models, 0)
        networks.append(policy.network.state_dict())
    assert all(torch.equal(ours, networks[1][name]) for name, ours in networks[0].items())


def test_groups_without_a_difference_change_nothing() -> None:
    torch.manual_seed(0)
    network = RouterNetwork(SMALL)
    with torch.no_grad():
        network.head.bias.fill_(50.0)  # high always, so that all rollouts of a group are alike
    before = [parameter.clone() for parameter in network.parameters()]
    Grpo(network, GrpoRecipe(instances=4), 0.3).iterate([opened("train")], walkers(), 0)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(network.parameters(), before, strict=True))


@given(st.floats(-20, 20), st.floats(-20, 20))
def test_kl_of_two_choices(ours: float, theirs: float) -> None:
    p, q = (1 / (1 + math.exp(-x)) for x in (ours, theirs))
    expected = p * math.log(p / q) + (1 - p) * (math.log1p(-p) - math.log1p(-q)) if max(p, q) < 1 else None
    found = float(bernoulli_kl(torch.tensor(ours, dtype=torch.float64), torch.tensor(theirs, dtype=torch.float64)))
    assert found >= -1e-12
    if expected is not None:
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-6)
