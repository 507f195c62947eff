"""The contract of every backend, tested on each that runs here, with the weights of pool smollm2.

``make test-vllm`` runs this where vLLM is installed: its engine in this process, and its server behind backend openai.
``make test-llama`` asks the server of llama.cpp, whose Python ``LLAMA_PYTHON`` names.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from harness.data import Turn
from harness.pool import ModelSpec, load_pool, open_backend
from harness.weights.adapters import weights_folder
from mixroute import (
    Backend,
    Message,
    Prompt,
    Request,
    SupportsScoring,
    Task,
    open_task,
)
from tests.command import PATIENCE
from tests.harness.backends import contract
from tests.harness.backends.contract import ask
from tests.harness.backends.gguf_file import tuned_gguf

pytestmark = pytest.mark.model

NO_VLLM = "needs vLLM: make test-vllm"
NO_LLAMA = "needs the server of llama.cpp: make test-llama"


@pytest.fixture(scope="module", params=["transformers", "vllm", "openai-vllm", "openai-llama.cpp"])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    kind = str(request.param)
    if kind.endswith("vllm") and find_spec("vllm") is None:
        pytest.skip(NO_VLLM)
    spec = load_pool("smollm2").models["high"]
    if kind == "transformers":
        yield from opened(spec)
    elif kind == "vllm":
        options = {"dtype": "bfloat16", "kv_cache_mb": 512, "max_model_len": 2048}
        yield from opened(spec.model_copy(update={"backend": "vllm", "options": options}))
    elif kind == "openai-vllm":
        folder = str(weights_folder(spec))
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", folder]
        command += ["--served-model-name", "smollm2", "--max-model-len", "2048", "--enforce-eager"]
        command += ["--kv-cache-memory-bytes", str(512 << 20), "--enable-prompt-tokens-details", "--max-logprobs", "5"]
        with served(command) as url:
            yield from opened(endpoint(url))
    else:
        python = os.environ.get("LLAMA_PYTHON")
        if not python:
            pytest.skip(NO_LLAMA)
        command = [python, "-m", "llama_cpp.server", "--model", str(tuned_gguf(spec)), "--n_ctx", "8192"]
        # It gives log-probabilities only if it keeps all logits, and by default leaves one request for the next.
        command += ["--model_alias", "smollm2", "--logits_all", "true", "--interrupt_requests", "false"]
        with served(command) as url:  # by default it samples from the likeliest tokens only
            yield from opened(endpoint(url, top_k=0, top_p=1.0, min_p=0.0))


def opened(spec: ModelSpec) -> Iterator[Backend]:
    backend = open_backend("high", spec, deterministic=False)
    yield backend
    backend.close()


def endpoint(url: str, **extra_body: float) -> ModelSpec:
    options = {"base_url": url, "extra_body": extra_body, "parameters": 134_515_008, "weight_bytes": 269_030_016}
    return ModelSpec(backend="openai", weights="smollm2", options=options)


@contextmanager
def served(command: list[str]) -> Iterator[str]:
    """The URL of a server that this starts, once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=10).close()
                break
            except (URLError, OSError):
                assert process.poll() is None, f"{command[:3]} ended with {process.returncode}"
                assert time.monotonic() < deadline, f"{command[:3]} does not answer"
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture(scope="module")
def task() -> Task:
    return open_task("alfworld-gen", split="dev")


def first(task: Task, number: int, **changes: Any) -> Request:
    """The first question of a game."""
    observation = task.open(task.instances()[number]).reset()
    return Request(f"game {number}", task.prompt([], observation), **{"stop": task.stop, "max_tokens": 24, **changes})


def test_the_agent_plays(backend: Backend, task: Task) -> None:
    instance = task.instances()[1]
    environment = task.open(instance)
    observation = environment.reset()
    turns: list[Turn] = []
    valid = 0
    last = None
    for _ in range(6):
        prompt = task.prompt(turns, observation)
        (answer,) = ask(backend, Request("play", prompt, stop=task.stop, max_tokens=24))
        action = task.parse_action(answer.text)
        valid += action in observation.admissible
        assert "\n" not in answer.text
        assert 0 < answer.content_tokens <= len(answer.tokens) <= 24
        assert 0 <= answer.cached_tokens <= answer.prompt_tokens
        assert last is None or answer.prompt_tokens > last.prompt_tokens
        for token in answer.tokens:
            assert token.logprob <= 0 <= token.entropy
            assert 0 <= token.margin <= 1
        assert answer.timing.latency > 0
        assert answer.timing.prefill + answer.timing.decode > 0
        turns.append(Turn(observation, answer.text, action))
        observation, _, done = environment.step(action)
        last = answer
        if done:
            break
    backend.release("play")
    assert valid >= len(turns) - 1


def test_an_answer_ends_where_it_must(backend: Backend, task: Task) -> None:
    (whole,) = ask(backend, first(task, 0))
    assert whole.finish == "stop"
    contract.check_it_ends_where_it_must(backend, first(task, 0))


def test_it_goes_on_from_part_of_an_answer(backend: Backend, task: Task) -> None:
    (whole,) = ask(backend, first(task, 0))
    contract.check_it_goes_on_from_part_of_an_answer(backend, first(task, 0), whole.text.rindex(" "))


def test_a_seed_repeats_its_sample(backend: Backend, task: Task) -> None:
    contract.check_a_seed_repeats_its_sample(backend, first(task, 2))


def test_many_ask_at_once(backend: Backend, task: Task) -> None:
    answers = ask(backend, *(first(task, number) for number in range(8)))
    assert all(answer.text.strip() for answer in answers)
    again = ask(backend, *(first(task, number) for number in range(8)))
    # Other batches round otherwise, so that near ties may turn.
    assert sum(one.text == two.text for one, two in zip(answers, again, strict=True)) >= 6


def test_a_cancelled_call_leaves_it_usable(backend: Backend, task: Task) -> None:
    long = first(task, 3, max_tokens=256, stop=())
    contract.check_a_cancelled_call_leaves_it_usable(backend, long, first(task, 4))


def test_a_prompt_that_is_too_long_is_its_episodes_error(backend: Backend) -> None:
    contract.check_a_prompt_that_is_too_long_is_its_episodes_error(backend)


def test_a_chat_goes_through_the_models_template(backend: Backend) -> None:
    prompt = Prompt((Message("user", "What is the capital of France?"),))
    (answer,) = ask(backend, Request("chat", prompt, max_tokens=8))
    assert answer.text.strip()
    assert answer.prompt_tokens > 8


def test_what_it_scores_is_what_it_wrote(backend: Backend, task: Task) -> None:
    if not isinstance(backend, SupportsScoring):
        pytest.skip("it cannot score given answers")
    requests = [first(task, number) for number in range(4)]
    requests += [first(task, 0, max_tokens=2), first(task, 1, continue_from=" go to")]
    contract.check_what_it_scores_is_what_it_wrote(backend, requests)


def test_its_card_says_what_costs_follow_from(backend: Backend) -> None:
    card = backend.card()
    assert card.parameters == 134_515_008
    assert card.weight_bytes == 2 * card.parameters
    assert card.bits == 16
    assert len(card.fingerprint) == 64
