"""What the engine adds to the time of models and environments, and what it computes twice.

make benchmark
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from harness.engine.answering import Play
from harness.engine.opening import sample
from harness.engine.rollout import play_all
from harness.records import Episode, EpisodeTiming
from mixroute import Backend, open_router, open_task
from tests.benchmarks.fixture import Benchmark

pytestmark = pytest.mark.model

GAMES, STEPS, CONCURRENCY = 12, 6, 12


@dataclass
class Played:
    """What one run left behind."""

    episodes: list[Episode]
    timings: list[EpisodeTiming]

    def call_finished(self, tokens: int) -> None:
        pass

    def episode_finished(self, episode: Episode, timing: EpisodeTiming) -> None:
        self.episodes.append(episode)
        self.timings.append(timing)


@pytest.mark.parametrize("router", ["always-high", "random"])
def test_play(
    benchmark: Benchmark, capsys: pytest.CaptureFixture[str], smollm2: dict[str, Backend], router: str
) -> None:
    task = open_task("alfworld-gen", split="test", step_cap=STEPS)
    instances = sample(task.instances(), GAMES)
    play = Play("benchmark", 0, 0.0, task, open_router(router), smollm2, 60.0)

    def run() -> Played:
        played = Played([], [])
        asyncio.run(play_all(play, instances, CONCURRENCY, played))
        return played

    played = benchmark.pedantic(run, rounds=2, warmup_rounds=0)
    wall = benchmark.stats.stats.max if benchmark.stats else float("nan")
    steps = [step for timing in played.timings for step in timing.steps]
    model = sum(call.prefill + call.decode for step in steps for call in step.calls)
    environment = sum(step.environment for step in steps) + sum(timing.reset for timing in played.timings)
    computed, least = prefill_tokens(played.episodes)
    benchmark.extra_info.update(outside_share=1 - (model + environment) / wall, prefill_ratio=computed / least)
    with capsys.disabled():
        print(
            f"\n{router}: {wall:.1f} s, model {model:.1f} s, environment {environment:.3f} s, outside "
            f"{1 - (model + environment) / wall:.1%}; prefill {computed} tokens, {computed / least:.3f} of the least"
        )


def prefill_tokens(episodes: list[Episode]) -> tuple[int, int]:
    """Prompt tokens that were computed, and the fewest that could have been.

    The fewest: a model that has answered a prompt holds its tokens and those it decoded but the last, and the next
    prompt begins with them. Where other tokens spell the same text, or another model acted, the truth lies higher.
    """
    computed = least = 0
    for episode in episodes:
        held: dict[str, int] = {}
        for step in episode.steps:
            for call in step.calls:
                computed += call.prompt_tokens - call.cached_tokens
                least += max(1, call.prompt_tokens - held.get(call.model, 0))
                held[call.model] = call.prompt_tokens + call.decoded_tokens - 1
    return computed, least
