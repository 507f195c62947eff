"""The engine over vLLM against vLLM alone, transformers against vLLM, and how often a backend's second play differs.

Both sides of a ratio play in turns, so that whatever else the machine does troubles both alike. Needs vLLM:
make benchmark-vllm
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import pairwise
from statistics import median
from typing import Any

import pytest

from harness.engine.answering import Play
from harness.engine.opening import sample
from harness.engine.rollout import play_all
from harness.pool import load_pool, open_backend
from harness.records import Episode
from mixroute import Backend, Completion, Request, open_router, open_task
from tests.benchmarks.fixture import Benchmark
from tests.benchmarks.test_rollout import Played

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(find_spec("vllm") is None, reason="needs vLLM: make benchmark-vllm"),
]

GAMES, STEPS, ROUNDS = 8, 6, 5


class Recording:
    """A backend that notes what it was asked, by session."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.asked: defaultdict[str, list[Request]] = defaultdict(list)

    async def generate(self, request: Request) -> Completion:
        self.asked[request.session].append(request)
        completion: Completion = await self.backend.generate(request)
        return completion

    def release(self, session: str) -> None:
        self.backend.release(session)

    def card(self) -> Any:
        return self.backend.card()

    def close(self) -> None:
        self.backend.close()


@contextmanager
def opened(backend: str, *, deterministic: bool = False, **options: Any) -> Iterator[Any]:
    spec = load_pool("smollm2").models["high"].model_copy(update={"backend": backend, "options": options})
    model = open_backend("high", spec, deterministic=deterministic)
    yield model
    model.close()


def vllm() -> Any:
    return opened("vllm", dtype="bfloat16", kv_cache_mb=512, max_model_len=2048)


def play(backend: Backend, concurrency: int = GAMES) -> tuple[float, list[Episode]]:
    """Seconds of a play of all games, so many at once, and its episodes."""
    task = open_task("alfworld-gen", split="test", step_cap=STEPS)
    instances = sample(task.instances(), GAMES)
    played = Played([], [])
    began = time.perf_counter()
    asyncio.run(
        play_all(
            Play("benchmark", 0, 0.0, task, open_router("always-high"), {"high": backend}, 60.0),
            instances,
            concurrency,
            played,
        )
    )
    return time.perf_counter() - began, sorted(played.episodes, key=lambda one: one.instance)


def decoded(episodes: list[Episode]) -> int:
    return sum(call.decoded_tokens for episode in episodes for step in episode.steps for call in step.calls)


def forget(backend: Any) -> None:
    """Empty vLLM's cache of prefixes, which would serve the second side what the first has read."""
    there(backend, lambda: backend._engine.reset_prefix_cache())


def there(backend: Any, work: Callable[[], Awaitable[Any]]) -> Any:
    async def done() -> Any:
        return await work()

    return asyncio.run_coroutine_threadsafe(done(), backend._loop).result()


def alone(backend: Any, asked: dict[str, list[Request]], logprobs: int | None) -> tuple[float, int]:
    """vLLM's engine alone on the same questions, as many at once."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    prompts = {
        session: [(backend._encoder.encode(request.prompt).ids, request) for request in requests]
        for session, requests in asked.items()
    }

    async def one(session: str) -> int:
        written = 0
        for number, (ids, request) in enumerate(prompts[session]):
            parameters = SamplingParams(
                temperature=0.0,
                stop=list(request.stop),
                max_tokens=request.max_tokens,
                logprobs=logprobs,
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
            name = f"{session} {number} {time.perf_counter_ns()}"
            async for output in backend._engine.generate({"prompt_token_ids": ids}, parameters, name):
                answer = output
            written += len(answer.outputs[0].token_ids)
        return written

    async def together() -> int:
        return sum(await asyncio.gather(*map(one, prompts)))

    began = time.perf_counter()
    written = there(backend, together)
    return time.perf_counter() - began, written


def shown(ratios: list[float]) -> str:
    return f"{median(ratios):.3f} [{min(ratios):.3f}, {max(ratios):.3f}]"


def test_the_engine_over_vllm_against_vllm_alone(benchmark: Benchmark, capsys: pytest.CaptureFixture[str]) -> None:
    with vllm() as backend:
        recording = Recording(backend)
        play(recording)
        asked = dict(recording.asked)
        speeds: defaultdict[str, list[float]] = defaultdict(list)

        def turns() -> None:
            forget(backend)
            seconds, episodes = play(backend)
            speeds["engine"].append(decoded(episodes) / seconds)
            for name, logprobs in (("alone", 20), ("alone, without log-probabilities", None)):
                forget(backend)
                seconds, written = alone(backend, asked, logprobs)
                speeds[name].append(written / seconds)

        benchmark.pedantic(turns, rounds=ROUNDS)
    with capsys.disabled():
        for name in list(speeds)[1:]:
            ratios = [ours / theirs for ours, theirs in zip(speeds["engine"], speeds[name], strict=True)]
            print(
                f"\nengine over vLLM {median(speeds['engine']):.1f} tokens a second; vLLM {name} "
                f"{median(speeds[name]):.1f}; ratio {shown(ratios)}, {len(ratios)} rounds"
            )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_transformers_against_vllm(benchmark: Benchmark, capsys: pytest.CaptureFixture[str], dtype: str) -> None:
    with vllm() as theirs, opened("transformers", dtype=dtype) as ours:
        ratios = []

        def turns() -> None:
            speeds = []
            for backend in (ours, theirs):
                if backend is theirs:
                    forget(theirs)
                seconds, episodes = play(backend)
                speeds.append(decoded(episodes) / seconds)
            ratios.append(speeds[0] / speeds[1])

        benchmark.pedantic(turns, rounds=ROUNDS)
    with capsys.disabled():
        print(
            f"\ntransformers in {dtype} over vLLM in bfloat16, tokens a second: {shown(ratios)}, {len(ratios)} rounds"
        )


@pytest.mark.parametrize(
    "kind", ["deterministic float32", "throughput float32", "throughput bfloat16", "vllm bfloat16"]
)
def test_flips(benchmark: Benchmark, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    mode, dtype = kind.split()
    models: Any = (
        vllm() if mode == "vllm" else opened("transformers", deterministic=mode == "deterministic", dtype=dtype)
    )
    plays: list[list[Episode]] = []
    at_once = iter((GAMES, 1, GAMES, 3, 5))  # other batches, where rounding may differ
    with models as backend:

        def again() -> None:
            if mode == "vllm":
                forget(backend)
            plays.append(play(backend, next(at_once))[1])

        benchmark.pedantic(again, rounds=ROUNDS)
    games = steps = parted = 0
    for one, two in pairwise(plays):
        for ours, theirs in zip(one, two, strict=True):
            same = [a.action == b.action for a, b in zip(ours.steps, theirs.steps, strict=False)]
            games += 1
            parted += not all(same)
            steps += ([*same, False]).index(False) + (not all(same))  # a game is compared until it parts
    with capsys.disabled():
        print(f"\n{kind}: {parted} of {games} games parted from the play before; {parted} flips in {steps} steps")
