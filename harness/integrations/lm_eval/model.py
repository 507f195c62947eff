"""A router and its pool as one model of lm-eval: each request is an episode of one step."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from lm_eval.api.instance import Instance as LmRequest
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

from harness.backends.completion_cache import CompletionCache
from harness.contracts import Backend, Environment
from harness.data import Completion, Instance, ModelCard, Observation, Prompt, Request, Turn
from harness.engine.answering import Play
from harness.engine.loop import run_to_end
from harness.engine.opening import open_models
from harness.engine.rollout import play_all
from harness.errors import MixrouteError
from harness.integrations.lm_eval_prompts import Generation, chat_as_text, generation_of, prompt_of
from harness.plugins import open_router
from harness.pool import load_pool
from harness.records import Episode, EpisodeTiming
from harness.suite import Mode

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Settings:
    """Generation settings that the requests of one batch share."""

    task: str
    generation: Generation


class _SingleQuestion:
    """The environment of one request: it shows the context and takes any answer."""

    def __init__(self, context: str) -> None:
        self._context = context

    def reset(self) -> Observation:
        return Observation(self._context)

    def step(self, action: str) -> tuple[Observation, float, bool]:
        return Observation(""), 0.0, True

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


class _Requests:
    """lm-eval's requests as a task; lm-eval grades the answers itself."""

    blocking = False
    step_cap = 1
    split = "test"

    def __init__(self, settings: _Settings, requests: Sequence[LmRequest]) -> None:
        self.name = settings.task
        self.stop, self.max_tokens = settings.generation.stop, settings.generation.max_tokens
        asked: Counter[str] = Counter()
        self._instances = []
        for one in requests:
            name = (
                f"test/{one.task_name}-{one.doc_id:07d}"  # as task ``reasoning`` names it, so that routers draw alike
            )
            again = f"/{asked[name]}" if asked[name] else ""
            asked[name] += 1
            self._instances.append(Instance(name + again, data=one))

    def instances(self) -> Sequence[Instance]:
        return self._instances

    def open(self, instance: Instance) -> Environment:
        return _SingleQuestion(str(instance.data.args[0]))

    def prompt(self, turns: Sequence[Turn], observation: Observation) -> Prompt:
        return prompt_of(observation.text)

    def parse_action(self, text: str) -> str:
        return text

    def is_success(self, score: float) -> bool:
        return True

    def protocol(self) -> Mapping[str, Any]:
        return {}


class _Truncating:
    """A model that leaves out the beginning of prompts that are too long, as lm-eval's own do."""

    def __init__(self, model: Backend) -> None:
        self._model = model

    async def generate(self, request: Request) -> Completion:
        return await self._model.generate(replace(request, truncate=True))

    def release(self, session: str) -> None:
        self._model.release(session)

    def card(self) -> ModelCard:
        return self._model.card()

    def close(self) -> None:
        self._model.close()


class _Answers:
    """Collects the answers by instance, and counts tokens."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.tokens: Counter[str] = Counter()

    def call_finished(self, tokens: int) -> None:
        """Show nothing."""

    def episode_finished(self, episode: Episode, timing: EpisodeTiming) -> None:
        if episode.error:
            log.warning("%s has no answer: %s", episode.instance, episode.error)
        self.texts[episode.instance] = "" if episode.error else episode.steps[-1].text
        for step in episode.steps:
            for call in step.calls:
                self.tokens[call.model] += call.decoded_tokens


@register_model("mixroute")
class MixrouteLM(LM):  # type: ignore[misc]
    """A router as a model of lm-eval. Generation tasks only: there is no routing in scoring given text.

    Args:
        router: Name of a router, entry point or ``path/to/file.py:Name``.
        pool: Name of a shipped pool, or a ``.yaml`` file.
        seed: Root seed of the router's random draws.
        mode: ``deterministic`` or ``throughput``.
        concurrency: Requests that are answered at the same time.
        reuse: Whether greedy completions that were computed before are taken from the completion cache.
        batch_size: Ignored, as lm-eval passes it; ``concurrency`` and the backend decide.
        max_batch_size: Ignored, as ``batch_size``.
        device: Ignored; the pool says where its models run.
        **arguments: The router's constructor arguments, such as ``p=0.3``. Nothing is calibrated.

    Raises:
        MixrouteError: unknown router, pool or argument, or weights that cannot be read.
    """

    def __init__(
        self,
        router: str,
        pool: str,
        seed: int = 0,
        mode: Mode = "deterministic",
        concurrency: int = 16,
        reuse: bool = True,
        batch_size: object = None,
        max_batch_size: object = None,
        device: object = None,
        **arguments: Any,  # noqa: ANN401 - each router declares its own
    ) -> None:
        super().__init__()
        self._router = open_router(router, **arguments)
        self._pool = load_pool(pool)
        self._seed, self._concurrency = seed, concurrency
        self._open = ExitStack()
        answers = CompletionCache() if reuse else None
        models = self._open.enter_context(open_models(self._pool, mode, answers))
        self._models: dict[str, Backend] = {name: _Truncating(model) for name, model in models.items()}

    def close(self) -> None:
        """Free the weights."""
        self._open.close()

    def generate_until(self, requests: list[LmRequest], disable_tqdm: bool = False) -> list[str]:
        """The router's answers, in the order of ``requests``. One that ends in an error is empty, and is logged."""
        batches: dict[_Settings, list[int]] = {}
        for place, request in enumerate(requests):
            batches.setdefault(_settings(request), []).append(place)
        texts = [""] * len(requests)
        for settings, places in batches.items():
            for place, text in zip(places, self._play(settings, [requests[p] for p in places]), strict=True):
                texts[place] = text
                self.cache_hook.add_partial("generate_until", requests[place].args, text)
        return texts

    def _play(self, settings: _Settings, requests: Sequence[LmRequest]) -> Iterable[str]:
        task = _Requests(settings, requests)
        play = Play(
            run=f"lm-eval {settings.task} {settings.generation}",
            seed=self._seed,
            temperature=settings.generation.temperature,
            task=task,
            router=self._router,
            pool=self._models,
            router_timeout=60.0,
        )
        answers = _Answers()
        run_to_end(play_all(play, task.instances(), self._concurrency, answers))
        log.info("%s: tokens decoded by model: %s", settings.task, dict(answers.tokens))
        return [answers.texts[one.id] for one in task.instances()]

    def loglikelihood(self, requests: list[LmRequest]) -> list[tuple[float, bool]]:
        """Refuse: a router generates and cannot score given text."""
        raise MixrouteError("model 'mixroute' only generates: choose tasks with output_type generate_until")

    def loglikelihood_rolling(self, requests: list[LmRequest]) -> list[float]:
        """Refuse: a router generates and cannot score given text."""
        raise MixrouteError("model 'mixroute' only generates: choose tasks with output_type generate_until")

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Encode the conversation as a string, which each backend renders with its model's own chat template."""
        return chat_as_text(chat_history, add_generation_prompt)

    @property
    def tokenizer_name(self) -> str:
        """A name for the pool, since each of its models has its own tokenizer."""
        return f"mixroute-{self._pool.name}"


def _settings(request: LmRequest) -> _Settings:
    return _Settings(str(request.task_name), generation_of(request.args[1]))
