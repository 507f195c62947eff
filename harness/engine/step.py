"""The step as a router sees it, and its calls to models, every one of which is kept for the trace."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.contracts import Backend, Task
from harness.data import Completion, Observation, Prompt, Request, Turn, join
from harness.engine.supervision import RouterStopped, Supervised, unmeasured
from harness.errors import EpisodeError
from harness.numbers import round_significant
from harness.seeding import seed_for


@dataclass(slots=True)
class StepCalls:
    """Makes the calls of one step. The engine takes the calls from here, whatever the router says of them."""

    pool: Mapping[str, Backend]
    request: Request
    """The step's request with its defaults; ``ask`` varies it."""
    supervised: Supervised | None = None
    violation: RouterStopped | None = None
    """What the router did that stops its run, kept here in case it swallows the exception."""
    closed: bool = False
    _begun: list[asyncio.Task[Completion]] = field(default_factory=list)

    async def ask(self, model: str, changes: Mapping[str, Any]) -> Completion:
        """Call ``model``; see ``harness.contracts.Step.ask``."""
        if model not in self.pool:
            self.violation = RouterStopped(f"the router asks for model '{model}': the pool has {', '.join(self.pool)}")
        if self.closed:
            self.violation = RouterStopped("the router asks for a model in a step that is over")
        if self.violation:
            raise self.violation
        fields = {name: getattr(self.request, name) for name in Request.__slots__}
        fields |= {name: value for name, value in changes.items() if value is not None}
        fields["seed"] = seed_for(self.request.seed, len(self._begun))
        if fields["temperature"] < 0 or fields["max_tokens"] < 0:
            raise EpisodeError(f"the router asks with {dict(changes)}: temperature and max_tokens are 0 or more")
        # A task of its own: its time is the model's, not the router's, and it is charged even if nobody waits for it.
        call = unmeasured(self.pool[model].generate(Request(**fields)))
        self._begun.append(call)
        supervised = self.supervised
        if supervised is not None:
            supervised.waits_for_model += 1
            call.add_done_callback(lambda _: supervised.model_answered())
        return await asyncio.shield(call)

    async def finished(self) -> list[Completion]:
        """All calls that were answered, in the order in which they were begun, once the last has ended."""
        outcomes = await asyncio.gather(*self._begun, return_exceptions=True)
        return [outcome for outcome in outcomes if isinstance(outcome, Completion)]

    def close(self) -> None:
        """Refuse further calls and cancel those that still run."""
        self.closed = True
        for call in self._begun:
            call.cancel()


@dataclass(frozen=True, slots=True)
class LiveStep:
    """Implements ``harness.contracts.Step``."""

    index: int
    prompt: Prompt
    observation: Observation
    turns: tuple[Turn, ...]
    models_used: tuple[str, ...]
    models: tuple[str, ...]
    stop: tuple[str, ...]
    max_tokens: int
    rng: random.Random
    _ask: Callable[[str, Mapping[str, Any]], Awaitable[Completion]] = field(repr=False)
    scores: dict[str, float] = field(default_factory=dict)
    """What the router has logged."""

    @classmethod
    def of_episode(
        cls,
        *,
        task: Task,
        instance: str,
        seed: int,
        turns: tuple[Turn, ...],
        observation: Observation,
        prompt: Prompt,
        models_used: tuple[str, ...],
        models: tuple[str, ...],
        ask: Callable[[str, Mapping[str, Any]], Awaitable[Completion]],
    ) -> LiveStep:
        """The step after ``turns``; play and verification both build it here, so that a router sees the same in both.

        Args:
            task: What is played; gives the defaults of a call.
            instance: Id of the instance.
            seed: The run's root seed.
            turns: The finished steps.
            observation: What the environment shows now.
            prompt: What a model will read.
            models_used: Per finished step, the model whose completion became the action.
            models: Names of the pool's models.
            ask: Makes a call, from the model's name and what differs from the defaults.
        """
        index = len(turns)
        return cls(
            index=index,
            prompt=prompt,
            observation=observation,
            turns=turns,
            models_used=models_used,
            models=models,
            stop=task.stop,
            max_tokens=task.max_tokens,
            rng=random.Random(seed_for(seed, instance, index, "router")),  # noqa: S311 - reproducible on purpose
            _ask=ask,
        )

    async def ask(
        self,
        model: str,
        *,
        continue_from: str = "",
        stop: tuple[str, ...] | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
    ) -> Completion:
        """Call a model of the pool; see ``harness.contracts.Step.ask``."""
        changes = {"continue_from": continue_from, "stop": stop, "max_tokens": max_tokens, "temperature": temperature}
        return await self._ask(model, changes)

    async def read(self, model: str) -> Completion:
        """Let a model read the prompt; see ``harness.contracts.Step.read``."""
        return await self._ask(model, {"max_tokens": 0, "temperature": 0.0})

    def log(self, **scores: float) -> None:
        """Note what the decision rests on; see ``harness.contracts.Step.log``. Six digits are kept."""
        for name, value in scores.items():
            if not math.isfinite(value):
                raise EpisodeError(f"the router logs {name} = {value}: log finite numbers")
            self.scores[name] = round_significant(value, 6)


def check_answer(answer: object, calls: list[Completion]) -> Completion:
    """The router's answer, rebuilt from the calls themselves, so that the router cannot name another model.

    It must consist of completions that this step's models gave, each once and in order; where it names a delimiter,
    the text of each counts up to there (``harness.data.join``).

    Args:
        answer: What the router returned.
        calls: The step's calls, in the order in which they were begun.

    Raises:
        EpisodeError: it consists of anything else.
    """
    if not isinstance(answer, Completion):
        raise EpisodeError(f"the router returned {type(answer).__name__}, not a Completion of step.ask")
    rest = iter(calls)
    found = [next((call for call in rest if call == part), None) for part in answer.parts or (answer,)]
    parts = [part for part in found if part is not None]
    if len(parts) == len(found):
        rebuilt = join(parts, answer.delimiter) if answer.parts else parts[0]
        if rebuilt.text == answer.text:
            return rebuilt
    raise EpisodeError("the router returned text that no model of this step wrote")
